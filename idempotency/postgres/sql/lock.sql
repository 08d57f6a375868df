-- Locks in order of id, so that two batches on crossed rows wait for each other but never in a circle.
-- Of rows that a plain claim or cancel asks for, only those are locked that it can change.
SELECT FROM requests r
WHERE r.id = ANY($1::uuid[]) AND (r.state = 3 OR r.id = ANY($2::uuid[]))
ORDER BY r.id
FOR UPDATE
