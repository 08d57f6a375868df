-- Changes one row if this transaction may execute the attempt, and none otherwise. Either way the
-- transaction is from now on the only one that writes.
INSERT INTO onceway_operations AS o (operation, executed) VALUES (?1, ?2)
ON CONFLICT (operation) DO UPDATE SET executed = excluded.executed, changed_at = excluded.changed_at
WHERE o.executed IS NULL AND o.fenced < excluded.executed
