UPDATE requests r
SET probe_due = now() + $3::bigint * interval '1 microsecond'
WHERE r.id = $1::uuid AND r.attempt_id = $2::uuid AND r.unknown_since IS NOT NULL
