DROP TABLE instances;
DROP INDEX requests_contradicted;
ALTER TABLE requests DROP COLUMN route;
