SELECT w.claimed_at FROM walks w WHERE w.name = 'overdue' FOR UPDATE SKIP LOCKED
