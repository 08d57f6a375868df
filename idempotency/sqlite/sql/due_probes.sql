SELECT id
  FROM requests
 WHERE state = 4 AND route = ?1 AND max(settled, ifnull(probe_due, 0)) <= ?2
 ORDER BY max(settled, ifnull(probe_due, 0))
 LIMIT ?3
