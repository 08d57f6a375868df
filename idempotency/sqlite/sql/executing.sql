-- (SQLite takes the index only where its condition stands word by word.)
SELECT id, attempt, n
  FROM requests
 WHERE state = 1 AND state IN (1, 4) AND instance = ?1 AND epoch = ?2 AND claimed <= ?3
 ORDER BY claimed
 LIMIT ?4
