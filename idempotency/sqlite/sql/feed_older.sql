-- The same, of those that may be older than the feed.
SELECT seq, id, changed
  FROM requests
 WHERE caller = ?1 AND seq > ?2 AND seq <= (SELECT before FROM feed)
 ORDER BY seq
 LIMIT ?3
