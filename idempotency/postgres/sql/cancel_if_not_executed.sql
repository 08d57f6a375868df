UPDATE requests r
SET state = 5,
    revision = r.revision + 1,
    changed = pg_current_xact_id(),
    been = (r.been | (1 << r.state))::smallint,
    cause = '',
    settled_at = now(),
    expires = GREATEST(r.expires, GREATEST(now(), m.key_date) + m.keep_key * interval '1 microsecond')
FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) AS m (id, key_date, keep_key)
WHERE r.id = ANY($1::uuid[]) AND r.id = m.id AND r.state = 3 AND NOT r.contradicted
