-- What is known of an operation, read in the transaction that has just tried to claim or to fence it.
SELECT o.executed, r.status, r.headers::text, r.body
FROM onceway_operations o LEFT JOIN onceway_responses r ON r.operation = o.operation
WHERE o.operation = $1::uuid
