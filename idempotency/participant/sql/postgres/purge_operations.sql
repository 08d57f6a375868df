-- An answer goes before its operation: one that was left behind would be taken for the answer of a later
-- execution. What is fenced for ever stays.
DELETE FROM onceway_operations WHERE operation IN (
    SELECT operation FROM onceway_operations o WHERE changed_at < now() - make_interval(secs => $1)
    AND fenced < 2147483647 AND NOT EXISTS (SELECT FROM onceway_responses r WHERE r.operation = o.operation)
    ORDER BY changed_at LIMIT $2 FOR UPDATE SKIP LOCKED)
