-- One narrow row per operation: what decides. Bodies are in payloads, proofs in evidence.
--
-- From executing to completed a row is updated once, and that update must stay heap-only (HOT): no
-- indexed column may change then, not even one in the predicate of a partial index. Hence so few
-- indexes, and room in each page for second versions, which are longer.
CREATE TABLE requests (
    id                   uuid        PRIMARY KEY,       -- OperationID
    attempt_id           uuid,
    owner                uuid,                          -- with epoch: who executes or executed it
    epoch                bigint,
    revision             bigint      NOT NULL,
    first_seen           timestamptz NOT NULL,
    claimed_at           timestamptz NOT NULL,          -- of the last attempt; first_seen for a tombstone
    deadline             timestamptz,
    settled_at           timestamptz,
    unknown_since        timestamptz,
    body_expires         timestamptz,
    expires              timestamptz NOT NULL,
    response_length      bigint,
    attempt              integer     NOT NULL,          -- 0 for a tombstone
    payload_day          date,                          -- names the partition that holds the body
    response_status      smallint,
    state                smallint    NOT NULL,          -- idempotency.State
    fingerprint_version  smallint,
    resend               boolean     NOT NULL DEFAULT false,
    doubted              boolean     NOT NULL DEFAULT false,
    contradicted         boolean     NOT NULL DEFAULT false,
    late                 boolean     NOT NULL DEFAULT false, -- what settled it last found it in doubt
    caller               text        NOT NULL,
    key                  text        NOT NULL,
    method               text        NOT NULL DEFAULT '',
    target               text        NOT NULL DEFAULT '',
    cause                text        NOT NULL DEFAULT '',
    fingerprint          bytea,
    trace                bytea,                         -- trace id and span id
    response_digest      bytea,
    resolved_at          timestamptz,
    resolved_by          text,
    resolved_evidence    text,

    CONSTRAINT state_is_known CHECK (state BETWEEN 1 AND 6),
    CONSTRAINT revision_counts CHECK (revision >= 1),
    CONSTRAINT key_has_1_to_255_bytes CHECK (octet_length(key) BETWEEN 1 AND 255),
    CONSTRAINT only_a_tombstone_has_no_attempt CHECK (
        CASE WHEN attempt = 0
            THEN state = 5 AND num_nonnulls(attempt_id, owner, epoch, deadline, fingerprint_version, fingerprint) = 0
            ELSE attempt >= 1 AND num_nulls(attempt_id, owner, epoch, deadline, fingerprint_version, fingerprint) = 0
        END),
    CONSTRAINT fingerprint_has_32_bytes CHECK (octet_length(fingerprint) = 32),
    CONSTRAINT trace_has_24_bytes CHECK (octet_length(trace) = 24),
    CONSTRAINT executing_is_not_settled CHECK ((state = 1) = (settled_at IS NULL)),
    CONSTRAINT unknown_has_a_since CHECK ((state = 4) = (unknown_since IS NOT NULL)),
    CONSTRAINT completed_has_a_payload CHECK ((state = 2) = (payload_day IS NOT NULL)),
    CONSTRAINT payload_day_is_when_it_expires CHECK (payload_day = (body_expires AT TIME ZONE 'UTC')::date),
    CONSTRAINT completed_has_a_response CHECK (state <> 2 OR num_nulls(response_status, body_expires) = 0),
    CONSTRAINT response_is_whole CHECK (num_nulls(response_status, response_length, response_digest) IN (0, 3)),
    CONSTRAINT response_belongs_to_an_executed_one CHECK (response_status IS NULL OR state IN (2, 6)),
    CONSTRAINT response_is_possible CHECK (response_status BETWEEN 100 AND 999 AND response_length >= 0 AND octet_length(response_digest) = 32),
    CONSTRAINT cause_belongs_to_no_answer CHECK (cause = '' OR state IN (3, 4)),
    CONSTRAINT doubted_only_while_unsettled CHECK (NOT doubted OR state IN (1, 4)),
    CONSTRAINT resolution_is_whole CHECK (num_nulls(resolved_at, resolved_by, resolved_evidence) IN (0, 3)),
    CONSTRAINT resolution_names_who_and_why CHECK (resolved_by <> '' AND resolved_evidence <> '')
) WITH (
    fillfactor = 40,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05
);

-- Sweeps and purges walk along it.
CREATE INDEX requests_claimed_at ON requests (claimed_at);

-- The census of what is in doubt. It stays untouched on the normal path.
CREATE INDEX requests_unknown_since ON requests (unknown_since) WHERE unknown_since IS NOT NULL;
