SELECT w.claimed_at FROM walks w WHERE w.name = 'purge' FOR UPDATE SKIP LOCKED
