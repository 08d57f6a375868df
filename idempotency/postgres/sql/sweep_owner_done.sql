-- Unless something is left, which somebody else has locked.
UPDATE instances i SET swept = true
WHERE i.id = $1::uuid AND i.epoch = $2::bigint
    AND NOT EXISTS (SELECT FROM requests r
        WHERE r.claimed_at >= $3::timestamptz AND r.state = 1 AND r.owner = $1::uuid AND r.epoch = $2::bigint)
