-- Looks only at what can still be in time; all else is in doubt already.
SELECT r.id, r.attempt_id, r.attempt
FROM requests r
WHERE r.claimed_at >= now() - $4::bigint * interval '1 microsecond'
        - COALESCE((SELECT i.longest FROM instances i WHERE i.id = $1::uuid AND i.epoch = $2::bigint), interval '0')
    AND r.claimed_at <= now() - $3::bigint * interval '1 microsecond'
    AND r.state = 1 AND r.owner = $1::uuid AND r.epoch = $2::bigint
ORDER BY r.claimed_at
LIMIT $5::integer
