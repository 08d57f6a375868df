-- Those that somebody else has locked are left for the next sweep: they must not hold up the others.
SELECT r.id
FROM requests r
WHERE r.claimed_at >= $3::timestamptz AND r.state = 1 AND r.owner = $1::uuid AND r.epoch = $2::bigint
ORDER BY r.claimed_at
LIMIT $4::integer
FOR UPDATE SKIP LOCKED
