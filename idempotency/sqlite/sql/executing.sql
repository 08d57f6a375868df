SELECT id, attempt, n
  FROM requests
 WHERE state = 1 AND instance = ?1 AND epoch = ?2 AND claimed <= ?3
 ORDER BY claimed
 LIMIT ?4
