-- not_executed, or in doubt on a route that says resend: stored as unknown, or executing without an
-- owner or past its time.
UPDATE requests r
SET state = 1,
    revision = r.revision + 1,
    changed = pg_current_xact_id(),
    been = (r.been | (1 << r.state) | CASE r.state WHEN 3 THEN 0 ELSE 16 END)::smallint,
    attempt = r.attempt + 1,
    attempt_id = m.attempt_id,
    owner = m.owner,
    epoch = m.epoch,
    method = m.method,
    target = m.target,
    route = m.route,
    resend = m.resend,
    trace = m.trace,
    doubted = r.state <> 3,
    cause = '',
    resolved_at = NULL,
    resolved_by = NULL,
    resolved_evidence = NULL,
    claimed_at = now(),
    deadline = now() + m.budget * interval '1 microsecond',
    settled_at = NULL,
    unknown_since = NULL,
    probe_due = NULL,
    expires = GREATEST(r.expires, GREATEST(now(), m.key_date) + m.keep_key * interval '1 microsecond')
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::smallint[], $6::bytea[],
        $7::text[], $8::text[], $9::bigint[], $10::boolean[], $11::timestamptz[], $12::bigint[], $13::bytea[], $15::text[])
    AS m (id, attempt_id, owner, epoch, fingerprint_version, fingerprint,
        method, target, budget, resend, key_date, keep_key, trace, route)
WHERE r.id = ANY($1::uuid[]) AND r.id = m.id
    AND NOT r.contradicted
    AND r.fingerprint_version = m.fingerprint_version AND r.fingerprint = m.fingerprint
    AND r.attempt_id <> m.attempt_id
    AND (r.state = 3
        OR m.resend AND r.state = 4
        OR m.resend AND r.state = 1 AND (now() > r.deadline + $14::bigint * interval '1 microsecond'
            OR NOT COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false)))
