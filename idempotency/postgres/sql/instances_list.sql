SELECT i.id, i.epoch, i.host, i.version, i.started_at, i.lease_until, i.lease_until > now(), i.spool_depth, i.spool_oldest
FROM instances i
WHERE NOT (i.longest = interval '0' AND i.host = '' AND i.version = '') -- that is only the note of a late claim
ORDER BY i.lease_until > now() DESC, i.spool_depth IS NOT NULL DESC, i.started_at DESC, i.id, i.epoch DESC
LIMIT $1::integer
