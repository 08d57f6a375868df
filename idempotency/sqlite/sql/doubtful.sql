-- ?1, ?2: the owner that has the lease; ?3: deadlines before this instant are more than a lease ago.
-- (SQLite takes the index only where its condition stands word by word.)
SELECT id, attempt, NOT (instance = ?1 AND epoch = ?2)
  FROM requests
 WHERE state = 1 AND state IN (1, 4) AND (NOT (instance = ?1 AND epoch = ?2) OR deadline < ?3)
 LIMIT ?4
