-- Where a window of so many records ends, if there are more.
SELECT r.claimed_at, r.id
FROM requests r
WHERE (r.claimed_at, r.id) < ($1::timestamptz, $2::uuid)
    AND r.claimed_at BETWEEN now() - $3::bigint * interval '1 microsecond' AND now() - $4::bigint * interval '1 microsecond'
ORDER BY r.claimed_at DESC, r.id DESC
OFFSET $5::integer LIMIT 1
