-- A process that comes back with a new lease has the spool that it had.
INSERT INTO instances (instance, epoch, host, version, acquired, spool_depth, spool_oldest)
SELECT ?1, ?2, ?3, ?4, ?5,
       CASE WHEN ?6 THEN coalesce(max(spool_depth), 0) END, CASE WHEN ?6 THEN min(spool_oldest) END
  FROM instances
 WHERE instance = ?1
