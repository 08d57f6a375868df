-- What Derive says: the owner has no lease, or the time is over.
UPDATE requests r
SET state = 4,
    revision = r.revision + 1,
    changed = pg_current_xact_id(),
    been = (r.been | 2)::smallint,
    cause = CASE WHEN COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false)
        THEN 'overdue' ELSE 'owner-gone' END,
    settled_at = now(),
    unknown_since = now(),
    expires = GREATEST(r.expires, now())
WHERE r.id = ANY($1::uuid[]) AND r.state = 1
    AND (now() > r.deadline + $2::bigint * interval '1 microsecond'
        OR NOT COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false))
