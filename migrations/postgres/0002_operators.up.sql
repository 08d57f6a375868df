-- What operators ask for: the route of a request, contradicted records, and where answers may still wait.

-- Name of the route that the last attempt was claimed on. It is written by claims only, so that
-- completing a record stays a heap-only update.
ALTER TABLE requests ADD COLUMN route text NOT NULL DEFAULT '';

-- Contradicted records are listed and counted. No normal move changes the column, so the index stays
-- untouched, and updates stay heap-only.
CREATE INDEX requests_contradicted ON requests (claimed_at) WHERE contradicted;

-- Answers that an instance keeps on its own disk because the store did not take them, as it said last.
-- NULL: it has no spool, or has said that nothing is left in it. All rows of an instance say the same.
ALTER TABLE instances
    ADD COLUMN spool_depth octets,
    ADD COLUMN spool_oldest timestamptz,
    ADD CONSTRAINT only_what_is_spooled_is_old CHECK (spool_oldest IS NULL OR spool_depth > 0);
