-- The next one in order. The third column says where to begin: what the owner claimed before is overdue, and the walk's.
SELECT i.id, i.epoch, i.lease_until - i.longest - $1::bigint * interval '1 microsecond' - interval '1 minute'
FROM instances i
WHERE NOT i.swept AND i.lease_until <= now() AND (i.id, i.epoch) > ($2::uuid, $3::bigint)
ORDER BY i.id, i.epoch
LIMIT 1
FOR UPDATE SKIP LOCKED
