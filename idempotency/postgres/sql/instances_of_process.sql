SELECT i.id, i.epoch, i.host, i.version, i.started_at, i.lease_until, i.lease_until > now(), i.spool_depth, i.spool_oldest
FROM instances i
WHERE i.id = $1::uuid
ORDER BY i.epoch DESC
