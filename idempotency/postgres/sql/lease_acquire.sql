-- What is in the process's spool now stands in the row that says that it lives: from a note that comes later
-- others would conclude too late that they have to wait for its answers.
INSERT INTO instances (id, epoch, lease_until, started_at, longest, host, version, spool_depth, spool_oldest)
SELECT $1::uuid, GREATEST(max(i.epoch) + 1, $2::bigint), clock_timestamp() + $3::bigint * interval '1 microsecond',
    clock_timestamp(), $4::bigint * interval '1 microsecond', $5::text, $6::text, $7::bigint, $8::timestamptz
FROM instances i
WHERE i.id = $1::uuid
RETURNING epoch
