-- What operators ask for: the route of a request, contradicted records, and where answers may still wait.

-- Name of the route that the last attempt was claimed on.
ALTER TABLE requests ADD COLUMN route TEXT NOT NULL DEFAULT '';

-- Contradicted records are listed and counted. Nothing is in here on the normal path.
CREATE INDEX requests_contradicted ON requests (seq) WHERE contradicted = 1;

-- One row for each lease: holder says whose is the present one.
CREATE TABLE instances (
  instance     BLOB    NOT NULL CHECK (length(instance) = 16),
  epoch        INTEGER NOT NULL CHECK (epoch > 0),
  host         TEXT    NOT NULL,
  version      TEXT    NOT NULL,
  acquired     INTEGER NOT NULL,
  -- Answers that the process keeps in a file of its own because the store did not take them, as it said
  -- last. NULL: it has no spool, or has said that nothing is left in it.
  spool_depth  INTEGER CHECK (spool_depth >= 0),
  spool_oldest INTEGER CHECK (spool_oldest IS NULL OR spool_depth > 0),
  PRIMARY KEY (instance, epoch)
) STRICT;
