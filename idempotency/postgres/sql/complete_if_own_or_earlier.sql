-- The answer of the record's own attempt, or on a resend record of an earlier one, while it is
-- executing or in doubt; or any attempt's, where the record stands for one that the store has lost. An
-- answer that no move accepts is kept as a contradiction.
--
-- Payload and evidence follow from the rows that were really moved, not from a second look.
WITH done AS (
    UPDATE requests r
    SET state = CASE WHEN m.replayable THEN 2 ELSE 6 END,
        revision = r.revision + 1,
        attempt_id = CASE WHEN r.state = 4 AND r.cause = 'lost-by-the-store' THEN m.attempt_id ELSE r.attempt_id END,
        attempt = CASE WHEN r.state = 4 AND r.cause = 'lost-by-the-store' THEN GREATEST(r.attempt, m.n) ELSE r.attempt END,
        changed = pg_current_xact_id(),
        been = (r.been | 2 | CASE WHEN r.state = 4 OR now() > r.deadline + $13::bigint * interval '1 microsecond'
            OR NOT COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false) THEN 16 ELSE 0 END)::smallint,
        late = r.state = 4 OR now() > r.deadline + $13::bigint * interval '1 microsecond'
            OR NOT COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false),
        doubted = false,
        cause = '',
        settled_at = now(),
        unknown_since = NULL,
        expires = GREATEST(r.expires, now() + m.keep_key * interval '1 microsecond'),
        body_expires = CASE WHEN m.replayable
            THEN LEAST(GREATEST(r.expires - m.keep_key * interval '1 microsecond', now()), GREATEST(r.first_seen, now()) + interval '24 hours')
                + m.keep_response * interval '1 microsecond'
            ELSE r.body_expires END,
        response_status = m.status,
        response_length = m.length,
        response_digest = m.digest
    FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::bigint[], $5::bigint[], $6::integer[], $7::bigint[], $8::bytea[], $9::boolean[])
        WITH ORDINALITY AS m (id, attempt_id, n, keep_response, keep_key, status, length, digest, replayable, place)
    WHERE r.id = ANY($1::uuid[]) AND r.id = m.id
        AND r.state IN (1, 4)
        AND (r.attempt_id = m.attempt_id OR r.resend AND m.n > 0 AND m.n < r.attempt
            OR r.state = 4 AND r.cause = 'lost-by-the-store')
    RETURNING r.id, r.state, r.body_expires, r.late, m.attempt_id, m.n, m.place::integer AS place
), wrong AS (
    SELECT r.id, m.attempt_id, m.n, m.status, m.length, m.digest, m.place::integer AS place
    FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $6::integer[], $7::bigint[], $8::bytea[])
        WITH ORDINALITY AS m (id, attempt_id, n, status, length, digest, place)
    JOIN requests r ON r.id = ANY($1::uuid[]) AND r.id = m.id
    WHERE NOT (r.state IN (1, 2, 4, 6) AND (r.attempt_id = m.attempt_id OR r.resend AND m.n > 0 AND m.n < r.attempt)
        OR r.state = 4 AND r.cause = 'lost-by-the-store')
), marked AS (
    UPDATE requests r
    SET contradicted = true, revision = r.revision + 1, changed = pg_current_xact_id(), been = (r.been | (1 << r.state))::smallint
    FROM wrong w
    WHERE r.id = ANY($1::uuid[]) AND r.id = w.id AND NOT r.contradicted
), late AS (
    INSERT INTO evidence (operation, attempt_id, n, kind, by, text, at)
    SELECT d.id, d.attempt_id, d.n, 'late-answer', 'gateway', '', now()
    FROM done d
    WHERE d.late
    ON CONFLICT (operation, attempt_id, kind) DO NOTHING
), contradictions AS (
    INSERT INTO evidence (operation, attempt_id, n, kind, by, text, at,
        response_status, response_length, response_digest, fields, body, seal)
    SELECT w.id, w.attempt_id, w.n, 'contradiction', 'gateway',
        'an answer arrived for an attempt that the record says had no effect', now(),
        w.status, w.length, w.digest, ($10::bytea[])[w.place], ($11::bytea[])[w.place], ($12::bytea[])[w.place]
    FROM wrong w
    ON CONFLICT (operation, attempt_id, kind) DO NOTHING
)
INSERT INTO payloads (day, id, attempt_id, fields, body, seal)
SELECT (d.body_expires AT TIME ZONE 'UTC')::date, d.id, d.attempt_id, ($10::bytea[])[d.place], ($11::bytea[])[d.place], ($12::bytea[])[d.place]
FROM done d
WHERE d.state = 2
ON CONFLICT (id, day) DO NOTHING
