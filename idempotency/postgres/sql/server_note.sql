-- The first to notice another server dates the change.
INSERT INTO store_identity AS i (identity, changed_at)
VALUES ($1::text, '-infinity')
ON CONFLICT (one) DO UPDATE SET identity = excluded.identity, changed_at = clock_timestamp()
WHERE i.identity <> excluded.identity
