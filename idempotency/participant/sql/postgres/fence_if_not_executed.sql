-- Changes one row if attempts up to this one are refused from the commit on, and none if one is executed.
-- A transaction that has claimed the operation is waited for.
INSERT INTO onceway_operations AS o (operation, fenced) VALUES ($1::uuid, $2)
ON CONFLICT (operation) DO UPDATE SET fenced = greatest(o.fenced, EXCLUDED.fenced), changed_at = EXCLUDED.changed_at
WHERE o.executed IS NULL
