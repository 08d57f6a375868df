-- ?1, ?2: the owner that has the lease.
SELECT instance, epoch, host, version, acquired, instance = ?1 AND epoch = ?2, spool_depth, spool_oldest
  FROM instances
 WHERE instance = ?3
 ORDER BY epoch DESC
