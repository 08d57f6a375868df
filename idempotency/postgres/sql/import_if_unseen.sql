WITH done AS (
    INSERT INTO requests (id, caller, key, state, revision, attempt, attempt_id, owner, epoch,
        fingerprint_version, fingerprint, method, target, route, resend, doubted, trace, cause,
        first_seen, claimed_at, deadline, settled_at, unknown_since, expires, body_expires,
        response_status, response_length, response_digest, changed)
    SELECT m.id, m.caller, m.key,
        CASE WHEN m.status IS NULL THEN 4 WHEN m.replayable THEN 2 ELSE 6 END,
        1, m.n, m.attempt_id, m.owner, m.epoch,
        m.fingerprint_version, m.fingerprint, m.method, m.target, m.route, m.resend,
        m.status IS NULL AND m.resend AND m.n > 1,
        m.trace,
        CASE WHEN m.status IS NULL THEN 'lost-by-the-store' ELSE '' END,
        now(), now(), now() + m.budget * interval '1 microsecond', now(),
        CASE WHEN m.status IS NULL THEN now() END,
        GREATEST(now(), m.key_date) + m.keep_key * interval '1 microsecond',
        CASE WHEN m.replayable THEN LEAST(GREATEST(now(), m.key_date), now() + interval '24 hours') + m.keep_response * interval '1 microsecond' END,
        m.status, m.length, m.digest, pg_current_xact_id()
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::bigint[], $7::smallint[], $8::bytea[],
            $9::text[], $10::text[], $11::bigint[], $12::boolean[], $13::timestamptz[], $14::bigint[], $15::bytea[],
            $16::bigint[], $17::integer[], $19::integer[], $20::bigint[], $21::bytea[], $22::boolean[], $26::text[])
        AS m (id, caller, key, attempt_id, owner, epoch, fingerprint_version, fingerprint,
            method, target, budget, resend, key_date, keep_key, trace,
            keep_response, n, status, length, digest, replayable, route)
    ORDER BY m.id
    ON CONFLICT (id) DO NOTHING
    RETURNING id, attempt_id, attempt, state, body_expires
), kept AS (
    INSERT INTO evidence (operation, attempt_id, n, kind, by, text, at)
    SELECT d.id, d.attempt_id, d.attempt, 'import', 'gateway', m.evidence, now()
    FROM done d
    JOIN unnest($1::uuid[], $18::text[]) AS m (id, evidence) ON m.id = d.id
    ON CONFLICT (operation, attempt_id, kind) DO NOTHING
)
INSERT INTO payloads (day, id, attempt_id, fields, body, seal)
SELECT (d.body_expires AT TIME ZONE 'UTC')::date, d.id, d.attempt_id, ($23::bytea[])[m.place::integer], ($24::bytea[])[m.place::integer], ($25::bytea[])[m.place::integer]
FROM done d
JOIN unnest($1::uuid[]) WITH ORDINALITY AS m (id, place) ON m.id = d.id
WHERE d.state = 2
ON CONFLICT (id, day) DO NOTHING
