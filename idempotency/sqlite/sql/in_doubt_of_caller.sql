SELECT count(*) FROM (SELECT 1 FROM requests WHERE caller = ? AND state = 4 LIMIT ?)
