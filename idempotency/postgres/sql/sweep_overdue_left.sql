-- The place before the first of these that is executing.
SELECT min(r.claimed_at) - interval '1 microsecond'
FROM requests r
WHERE r.id = ANY($1::uuid[]) AND r.state = 1
