DELETE FROM onceway_responses WHERE operation IN (
    SELECT operation FROM onceway_responses WHERE recorded_at < strftime('%s', 'now') - ?1 ORDER BY recorded_at LIMIT ?2)
