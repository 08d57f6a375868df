-- Of the records that this transaction has removed.
DELETE FROM evidence e
WHERE e.operation = ANY($1::uuid[]) AND NOT EXISTS (SELECT FROM requests r WHERE r.id = e.operation)
