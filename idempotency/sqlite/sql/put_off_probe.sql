UPDATE requests SET probe_due = ?2 WHERE id = ?1 AND state = 4
