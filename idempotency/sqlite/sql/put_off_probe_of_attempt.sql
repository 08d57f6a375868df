UPDATE requests SET probe_due = ?3 WHERE id = ?1 AND attempt = ?2 AND state = 4
