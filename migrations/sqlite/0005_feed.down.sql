DROP TABLE openings;
DROP TABLE feed;
DROP TABLE changes;
DROP INDEX requests_caller;
ALTER TABLE requests DROP COLUMN been;
ALTER TABLE requests DROP COLUMN changed;
