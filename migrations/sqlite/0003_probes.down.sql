DELETE FROM evidence WHERE kind = 'absence';
CREATE TABLE evidence_kept (
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
INSERT INTO evidence_kept SELECT id, attempt, kind, n, by, text, at, status, length, digest, fields, body, seal FROM evidence;
DROP TABLE evidence;
ALTER TABLE evidence_kept RENAME TO evidence;
DROP INDEX requests_probe_due;
ALTER TABLE requests DROP COLUMN probe_due;
