-- Also where the instance's row is gone already.
INSERT INTO instances (id, epoch, lease_until, started_at, longest, host, version)
VALUES ($1::uuid, $2::bigint, now(), now(), interval '0', '', '')
ON CONFLICT (id, epoch) DO UPDATE SET swept = false
