-- Locks in order of id, so that two batches on crossed rows wait for each other but never in a circle.
-- Of rows that a plain claim asks for, only those are locked that it can change. All others are locked
-- also where nothing is left to change: the lock is a write, so that a batch which finds its moves made
-- by an earlier try, whose commit may not have reached the standby, waits for the standby.
SELECT FROM requests r
WHERE r.id = ANY($1::uuid[]) AND (r.state = 3 OR r.id = ANY($2::uuid[]))
ORDER BY r.id
FOR UPDATE
