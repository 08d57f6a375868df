INSERT INTO purged (one, last) VALUES (1, ?1)
ON CONFLICT (one) DO UPDATE SET last = max(last, excluded.last)
