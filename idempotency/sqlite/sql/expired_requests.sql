SELECT seq, id, max(first_seen, ifnull(claimed, 0))
  FROM requests
 WHERE state IN (2, 3, 5, 6) AND contradicted = 0 AND expires < ?1
 ORDER BY expires
 LIMIT ?2
