DELETE FROM walks WHERE name = 'changes';
ALTER TABLE walks DROP COLUMN xid;
DROP TABLE feed, changes;
DROP INDEX requests_caller;
ALTER TABLE requests DROP COLUMN changed, DROP COLUMN been;
