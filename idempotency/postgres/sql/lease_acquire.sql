INSERT INTO instances (id, epoch, lease_until, started_at, longest, host, version)
SELECT $1::uuid, GREATEST(max(i.epoch) + 1, $2::bigint), clock_timestamp() + $3::bigint * interval '1 microsecond',
    clock_timestamp(), $4::bigint * interval '1 microsecond', $5::text, $6::text
FROM instances i
WHERE i.id = $1::uuid
RETURNING epoch
