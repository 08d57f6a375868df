UPDATE requests r
SET state = 4,
    revision = r.revision + 1,
    changed = pg_current_xact_id(),
    been = (r.been | 2)::smallint,
    cause = m.cause,
    settled_at = now(),
    unknown_since = now(),
    expires = GREATEST(r.expires, now() + m.keep_key * interval '1 microsecond')
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[]) AS m (id, attempt_id, cause, keep_key)
WHERE r.id = ANY($1::uuid[]) AND r.id = m.id AND r.state = 1 AND r.attempt_id = m.attempt_id
