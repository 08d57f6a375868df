-- Those that somebody else has locked are left for the next sweep: they must not hold up the others.
SELECT r.id
FROM requests r
WHERE r.id = ANY($1::uuid[]) AND r.state = 1
ORDER BY r.id
FOR UPDATE SKIP LOCKED
