DELETE FROM onceway_responses WHERE operation IN (
    SELECT operation FROM onceway_responses WHERE recorded_at < now() - make_interval(secs => $1)
    ORDER BY recorded_at LIMIT $2 FOR UPDATE SKIP LOCKED)
