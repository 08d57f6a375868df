SELECT w.claimed_at FROM walks w WHERE w.name = 'purged'
