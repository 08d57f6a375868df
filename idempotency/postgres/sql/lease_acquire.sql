-- A process that comes back with a new lease has the spool that it had.
INSERT INTO instances (id, epoch, lease_until, started_at, longest, host, version, spool_depth, spool_oldest)
SELECT $1::uuid, GREATEST(max(i.epoch) + 1, $2::bigint), clock_timestamp() + $3::bigint * interval '1 microsecond',
    clock_timestamp(), $4::bigint * interval '1 microsecond', $5::text, $6::text,
    CASE WHEN $7::boolean THEN COALESCE(max(i.spool_depth), 0) END, CASE WHEN $7::boolean THEN min(i.spool_oldest) END
FROM instances i
WHERE i.id = $1::uuid
RETURNING epoch
