-- What is in the process's spool now stands in the row that says that it lives.
INSERT INTO instances (instance, epoch, host, version, acquired, spool_depth, spool_oldest)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
