-- ?1, ?2: the owner that has the lease; ?3: deadlines before this instant are more than a lease ago.
SELECT id, attempt, NOT (instance = ?1 AND epoch = ?2)
  FROM requests
 WHERE state = 1 AND (NOT (instance = ?1 AND epoch = ?2) OR deadline < ?3)
 LIMIT ?4
