-- The records of gateways that share a server: docs/guarantee.md says what their states mean.

-- What can be said of a column alone, its type says: unlike CHECK constraints of a table, which every
-- statement that writes parses again, domains are part of its plan. Measured with 18 of those: a third
-- of the time of an insert, and more than a third of an update's.
CREATE DOMAIN record_state AS smallint CHECK (VALUE BETWEEN 1 AND 6);  -- idempotency.State
CREATE DOMAIN record_count AS bigint CHECK (VALUE >= 1);
CREATE DOMAIN attempt_number AS integer CHECK (VALUE >= 0);
CREATE DOMAIN idempotency_key AS text CHECK (octet_length(VALUE) BETWEEN 1 AND 255);
CREATE DOMAIN sha256_digest AS bytea CHECK (octet_length(VALUE) = 32);
CREATE DOMAIN trace_ids AS bytea CHECK (octet_length(VALUE) = 24);     -- trace id and span id
CREATE DOMAIN http_status AS smallint CHECK (VALUE BETWEEN 100 AND 999);
CREATE DOMAIN octets AS bigint CHECK (VALUE >= 0);

-- One narrow row per operation: what decides. Bodies are in payloads, proofs in evidence.
--
-- From executing to completed a row is updated once, and that update must stay heap-only (HOT): no
-- indexed column may change then, not even one in the predicate of a partial index. Hence so few
-- indexes, and room in each page for second versions, which are longer.
--
-- The constraints leave out what would mislead nobody: moves look at cause and doubt only in states
-- that have them, and an answer whose parts do not belong together is refused by its seal.
--
-- A tombstone, which alone has no attempt, has zeros in the attempt's columns.
CREATE TABLE requests (
    id                   uuid            PRIMARY KEY,   -- OperationID
    attempt_id           uuid            NOT NULL,
    owner                uuid            NOT NULL,      -- with epoch: who executes or executed it
    epoch                bigint          NOT NULL,
    revision             record_count    NOT NULL,
    first_seen           timestamptz     NOT NULL,
    claimed_at           timestamptz     NOT NULL,      -- of the last attempt; first_seen for a tombstone
    deadline             timestamptz     NOT NULL,      -- likewise
    settled_at           timestamptz,
    unknown_since        timestamptz,
    body_expires         timestamptz,                   -- its UTC day names the partition of a completed one's body
    expires              timestamptz     NOT NULL,
    response_length      octets,
    attempt              attempt_number  NOT NULL,      -- 0 for a tombstone
    response_status      http_status,
    state                record_state    NOT NULL,
    fingerprint_version  smallint        NOT NULL,
    resend               boolean         NOT NULL DEFAULT false,
    doubted              boolean         NOT NULL DEFAULT false,
    contradicted         boolean         NOT NULL DEFAULT false,
    late                 boolean         NOT NULL DEFAULT false, -- what settled it last found it in doubt
    caller               text            NOT NULL,
    key                  idempotency_key NOT NULL,
    method               text            NOT NULL DEFAULT '',
    target               text            NOT NULL DEFAULT '',
    cause                text            NOT NULL DEFAULT '',
    fingerprint          sha256_digest   NOT NULL,
    trace                trace_ids,
    response_digest      sha256_digest,
    resolved_at          timestamptz,
    resolved_by          text,                          -- these two are checked in evidence, which has them too
    resolved_evidence    text,

    CONSTRAINT only_a_tombstone_has_no_attempt CHECK (attempt > 0 OR state = 5),
    CONSTRAINT executing_is_not_settled CHECK ((state = 1) = (settled_at IS NULL)),
    CONSTRAINT unknown_has_a_since CHECK ((state = 4) = (unknown_since IS NOT NULL)),
    CONSTRAINT answer_is_whole CHECK (num_nulls(response_status, response_length, response_digest) IN (0, 3)),
    CONSTRAINT answer_is_of_what_was_executed CHECK (CASE state
        WHEN 2 THEN response_status IS NOT NULL AND body_expires IS NOT NULL
        WHEN 6 THEN true
        ELSE response_status IS NULL END)
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

-- Bodies, insert-only, partitioned by the UTC day on which they expire: dropping a partition whose
-- day is past removes exactly what has expired, whatever the retention is. The key begins with id, so
-- that a search without the day is still a search.
CREATE TABLE payloads (
    day        date          NOT NULL,
    id         uuid          NOT NULL,
    attempt_id uuid          NOT NULL,
    fields     bytea         NOT NULL,
    body       bytea         NOT NULL,
    seal       sha256_digest NOT NULL,
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);

-- Out of line without compression: most bodies are small or compressed already.
ALTER TABLE payloads ALTER COLUMN body SET STORAGE EXTERNAL;

-- Takes what no partition has been made for: a missing one must not fail an insert.
CREATE TABLE payloads_default PARTITION OF payloads DEFAULT;
CREATE INDEX payloads_default_day ON payloads_default (day);

-- The first days; the gateway's purge makes the coming ones.
DO $$
DECLARE
    d date;
BEGIN
    FOR i IN 0..14 LOOP
        d := (now() AT TIME ZONE 'UTC')::date + i;
        EXECUTE format('CREATE TABLE %I PARTITION OF payloads FOR VALUES FROM (%L) TO (%L)',
            'payloads_' || to_char(d, 'YYYYMMDD'), d, d + 1);
    END LOOP;
END
$$;

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
    CONSTRAINT resolution_names_who_and_why CHECK (kind <> 'resolution' OR by <> '' AND text <> ''),
    CONSTRAINT response_is_whole CHECK (num_nulls(response_status, response_length, response_digest) IN (0, 3)),
    CONSTRAINT payload_is_whole CHECK (num_nulls(fields, body, seal) IN (0, 3) AND (body IS NULL OR response_status IS NOT NULL))
);

-- One row per lease that a gateway process has or had, on the database's clock.
CREATE TABLE instances (
    id          uuid        NOT NULL,
    epoch       bigint      NOT NULL,
    lease_until timestamptz NOT NULL,
    started_at  timestamptz NOT NULL,
    longest     interval    NOT NULL,                   -- budget of an attempt: bounds where a sweep looks
    host        text        NOT NULL,
    version     text        NOT NULL,
    swept       boolean     NOT NULL DEFAULT false,     -- what it left executing is stored as unknown
    PRIMARY KEY (id, epoch),
    CONSTRAINT epoch_counts CHECK (epoch >= 1)
) WITH (fillfactor = 50);

CREATE INDEX instances_to_sweep ON instances (id, epoch) WHERE NOT swept;

-- How far the walks along requests.claimed_at have come, shared by all gateways.
CREATE TABLE walks (
    name       text        PRIMARY KEY,
    claimed_at timestamptz NOT NULL DEFAULT '-infinity'
);

INSERT INTO walks (name) VALUES ('overdue'), ('purge');
