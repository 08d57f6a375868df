-- Changes one row if attempts up to this one are refused from the commit on, and none if one is executed.
INSERT INTO onceway_operations AS o (operation, fenced) VALUES (?1, ?2)
ON CONFLICT (operation) DO UPDATE SET fenced = max(o.fenced, excluded.fenced), changed_at = excluded.changed_at
WHERE o.executed IS NULL
