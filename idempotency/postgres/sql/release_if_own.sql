-- executing or in doubt: not_executed. Where an earlier attempt is in doubt the operation stays so:
-- executing becomes unknown, and what is in doubt already stays as it is.
WITH done AS (
    UPDATE requests r
    SET state = CASE WHEN r.doubted THEN 4 ELSE 3 END,
        revision = r.revision + 1,
        changed = pg_current_xact_id(),
        been = (r.been | 2 | CASE WHEN r.state = 4 OR now() > r.deadline + $6::bigint * interval '1 microsecond'
            OR NOT COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false) THEN 16 ELSE 0 END)::smallint,
        late = r.state = 4 OR now() > r.deadline + $6::bigint * interval '1 microsecond'
            OR NOT COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false),
        cause = CASE WHEN r.doubted THEN 'earlier-attempt-in-doubt' ELSE m.cause END,
        settled_at = now(),
        unknown_since = CASE WHEN r.doubted THEN now() END,
        expires = GREATEST(r.expires, now() + m.keep_key * interval '1 microsecond')
    FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::bigint[])
        AS m (id, attempt_id, n, cause, keep_key)
    WHERE r.id = ANY($1::uuid[]) AND r.id = m.id
        AND r.attempt_id = m.attempt_id
        AND (r.state IN (1, 4) AND NOT r.doubted
            OR r.state = 1 AND r.doubted AND now() <= r.deadline + $6::bigint * interval '1 microsecond'
                AND COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false))
    RETURNING r.id, r.late, m.attempt_id, m.n, m.cause
)
INSERT INTO evidence (operation, attempt_id, n, kind, by, text, at)
SELECT d.id, d.attempt_id, d.n, 'late-release', 'gateway', d.cause, now()
FROM done d
WHERE d.late
ON CONFLICT (operation, attempt_id, kind) DO NOTHING
