-- Stored as unknown, or executing without an owner or past its time; and about the last attempt.
WITH done AS (
    UPDATE requests r
    SET state = CASE WHEN NOT m.executed THEN 3 WHEN m.replayable THEN 2 ELSE 6 END,
        revision = r.revision + 1,
        changed = pg_current_xact_id(),
        been = (r.been | (1 << r.state) | 16)::smallint,
        late = true,
        doubted = false,
        cause = CASE WHEN m.executed THEN '' ELSE 'resolved' END,
        settled_at = now(),
        unknown_since = NULL,
        expires = GREATEST(r.expires, now() + m.keep_key * interval '1 microsecond'),
        body_expires = CASE WHEN m.replayable
            THEN LEAST(GREATEST(r.expires - m.keep_key * interval '1 microsecond', now()), GREATEST(r.first_seen, now()) + interval '24 hours')
                + m.keep_response * interval '1 microsecond'
            ELSE r.body_expires END,
        response_status = m.status,
        response_length = m.length,
        response_digest = m.digest,
        resolved_at = now(),
        resolved_by = m.by,
        resolved_evidence = m.evidence
    FROM unnest($1::uuid[], $2::integer[], $3::boolean[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
            $8::integer[], $9::bigint[], $10::bytea[], $11::boolean[])
        WITH ORDINALITY AS m (id, n, executed, by, evidence, keep_response, keep_key, status, length, digest, replayable, place)
    WHERE r.id = ANY($1::uuid[]) AND r.id = m.id
        AND r.attempt = m.n
        AND (r.state = 4
            OR r.state = 1 AND (now() > r.deadline + $15::bigint * interval '1 microsecond'
                OR NOT COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false)))
    RETURNING r.id, r.state, r.body_expires, r.attempt_id, r.attempt, m.by, m.evidence, m.place::integer AS place
), kept AS (
    INSERT INTO evidence (operation, attempt_id, n, kind, by, text, at)
    SELECT d.id, d.attempt_id, d.attempt, 'resolution', d.by, d.evidence, now()
    FROM done d
    ON CONFLICT (operation, attempt_id, kind) DO NOTHING
)
INSERT INTO payloads (day, id, attempt_id, fields, body, seal)
SELECT (d.body_expires AT TIME ZONE 'UTC')::date, d.id, d.attempt_id, ($12::bytea[])[d.place], ($13::bytea[])[d.place], ($14::bytea[])[d.place]
FROM done d
WHERE d.state = 2
ON CONFLICT (id, day) DO NOTHING
