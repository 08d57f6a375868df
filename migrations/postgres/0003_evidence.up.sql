-- What settled a record otherwise than by the plain answer of its attempt, and answers that no move
-- accepts. Insert-only, one of a kind per attempt.
CREATE TABLE evidence (
    operation       uuid        NOT NULL,
    attempt_id      uuid        NOT NULL,
    n               integer     NOT NULL,
    kind            text        NOT NULL,               -- idempotency.EvidenceKind
    by              text        NOT NULL,
    text            text        NOT NULL,
    at              timestamptz NOT NULL,
    response_status smallint,
    response_length bigint,
    response_digest bytea,
    fields          bytea,                              -- with body and seal: of a whole response only
    body            bytea,
    seal            bytea,
    PRIMARY KEY (operation, attempt_id, kind),
    CONSTRAINT kind_is_known CHECK (kind IN ('late-answer', 'late-release', 'resolution', 'import', 'contradiction')),
    CONSTRAINT response_is_whole CHECK (num_nulls(response_status, response_length, response_digest) IN (0, 3)),
    CONSTRAINT payload_is_whole CHECK (num_nulls(fields, body, seal) IN (0, 3) AND (body IS NULL OR response_status IS NOT NULL))
);
