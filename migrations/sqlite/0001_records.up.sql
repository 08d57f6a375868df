-- The records of a gateway with the embedded store: docs/guarantee.md says what their states mean.
-- Instants are microseconds since 1970-01-01 UTC. Flags are 0 or 1.

-- One narrow row per operation: what decides. The rows are appended, and what a settlement rewrites lies
-- at the end, whatever the ids are; a table clustered by random ids would touch a page for each.
CREATE TABLE requests (
  seq                 INTEGER PRIMARY KEY,
  id                  BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
  caller              BLOB    NOT NULL,
  key                 TEXT    NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
  -- 1 executing, 2 completed, 3 not_executed, 4 unknown, 5 cancelled, 6 forgotten
  state               INTEGER NOT NULL CHECK (state BETWEEN 1 AND 6),
  revision            INTEGER NOT NULL CHECK (revision > 0),
  -- The last attempt; 0 and no id for a tombstone, which alone may lack one.
  n                   INTEGER NOT NULL CHECK (n > 0 OR n = 0 AND state = 5),
  attempt             BLOB    CHECK (length(attempt) = 16),
  instance            BLOB    CHECK (length(instance) = 16),
  epoch               INTEGER CHECK (epoch >= 0),
  fingerprint_version INTEGER CHECK (fingerprint_version > 0),
  fingerprint         BLOB    CHECK (length(fingerprint) = 32),
  method              TEXT,
  target              TEXT,
  trace               BLOB    CHECK (length(trace) = 24),
  resend              INTEGER NOT NULL CHECK (resend IN (0, 1)),
  doubted             INTEGER NOT NULL CHECK (doubted = 0 OR doubted = 1 AND state IN (1, 4)),
  contradicted        INTEGER NOT NULL CHECK (contradicted IN (0, 1)),
  cause               TEXT    NOT NULL CHECK (cause = '' OR state IN (3, 4)),
  -- What is known of the answer, also when its body is gone.
  status              INTEGER CHECK (status IS NULL OR state IN (2, 6)),
  length              INTEGER CHECK (length >= 0),
  digest              BLOB    CHECK (length(digest) = 32),
  resolved_by         TEXT,
  resolved_evidence   TEXT    CHECK (resolved_evidence <> ''),
  resolved_at         INTEGER,
  first_seen          INTEGER NOT NULL,
  claimed             INTEGER,
  deadline            INTEGER,
  settled             INTEGER,
  body_expires        INTEGER,
  expires             INTEGER NOT NULL,
  CHECK ((n = 0) = (attempt IS NULL) AND (n = 0) = (instance IS NULL) AND (n = 0) = (epoch IS NULL)
     AND (n = 0) = (fingerprint IS NULL) AND (n = 0) = (fingerprint_version IS NULL)
     AND (n = 0) = (method IS NULL) AND (n = 0) = (target IS NULL)
     AND (n = 0) = (claimed IS NULL) AND (n = 0) = (deadline IS NULL)),
  CHECK ((state = 1) = (settled IS NULL)),
  CHECK (state <> 2 OR status IS NOT NULL AND body_expires IS NOT NULL),
  CHECK ((status IS NULL) = (length IS NULL) AND (status IS NULL) = (digest IS NULL)),
  CHECK ((resolved_by IS NULL) = (resolved_evidence IS NULL) AND (resolved_by IS NULL) = (resolved_at IS NULL))
) STRICT;

-- What a sweep and the census look at: small, because rows leave it when they settle.
CREATE INDEX requests_open ON requests (state, deadline) WHERE state IN (1, 4);

-- What may be removed by age, and nothing else. It is written once, at settlement, nearly in order.
CREATE INDEX requests_expiring ON requests (expires) WHERE state IN (2, 3, 5, 6) AND contradicted = 0;

-- What is replayed: inserted once and deleted once.
CREATE TABLE payloads (
  seq     INTEGER PRIMARY KEY, -- of the request
  fields  BLOB    NOT NULL,    -- the header fields, each part preceded by its length
  body    BLOB    NOT NULL,
  seal    BLOB    NOT NULL CHECK (length(seal) = 32),
  expires INTEGER NOT NULL
) STRICT;

CREATE INDEX payloads_expiring ON payloads (expires);

-- What is kept beside a record: one of a kind per attempt, never changed.
CREATE TABLE evidence (
  id      BLOB    NOT NULL CHECK (length(id) = 16), -- of the operation
  attempt BLOB    NOT NULL CHECK (length(attempt) = 16),
  kind    TEXT    NOT NULL CHECK (kind IN ('late-answer', 'late-release', 'resolution', 'import', 'contradiction')),
  n       INTEGER NOT NULL,
  by      TEXT    NOT NULL CHECK (by <> ''),
  text    TEXT    NOT NULL,
  at      INTEGER NOT NULL,
  status  INTEGER,
  length  INTEGER,
  digest  BLOB    CHECK (length(digest) = 32),
  fields  BLOB,
  body    BLOB,
  seal    BLOB    CHECK (length(seal) = 32),
  CHECK ((status IS NULL) = (length IS NULL) AND (status IS NULL) = (digest IS NULL)),
  CHECK ((seal IS NULL) = (fields IS NULL) AND (seal IS NULL) = (body IS NULL) AND (seal IS NULL OR status IS NOT NULL)),
  UNIQUE (id, attempt, kind)
) STRICT;

-- The one gateway process that owns attempts. A lease lasts as long as the process holds the lock file;
-- epochs only grow, over all processes, so that no owner is ever taken for an earlier one.
CREATE TABLE holder (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  epoch    INTEGER NOT NULL CHECK (epoch > 0),
  instance BLOB    NOT NULL CHECK (length(instance) = 16),
  host     TEXT    NOT NULL,
  version  TEXT    NOT NULL,
  acquired INTEGER NOT NULL
) STRICT;
