-- Changes one row if this transaction may execute the attempt, and none otherwise. Either way the row is
-- locked until the transaction ends; whoever else holds it is waited for.
INSERT INTO onceway_operations AS o (operation, executed) VALUES ($1::uuid, $2)
ON CONFLICT (operation) DO UPDATE SET executed = EXCLUDED.executed, changed_at = EXCLUDED.changed_at
WHERE o.executed IS NULL AND o.fenced < EXCLUDED.executed
