-- At most ?3 records of one caller, after one of them.
SELECT seq, id, changed FROM requests WHERE caller = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3
