-- ?1, ?2: the owner that has the lease.
SELECT instance, epoch, host, version, acquired, instance = ?1 AND epoch = ?2, spool_depth, spool_oldest
  FROM instances
 ORDER BY instance = ?1 AND epoch = ?2 DESC, spool_depth IS NOT NULL DESC, acquired DESC, instance, epoch DESC
 LIMIT ?3
