ALTER TABLE instances DROP COLUMN spool_depth, DROP COLUMN spool_oldest;
DROP INDEX requests_contradicted;
ALTER TABLE requests DROP COLUMN route;
