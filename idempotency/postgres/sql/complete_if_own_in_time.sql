-- The usual case of complete_if_own_or_earlier.sql: answers to one owner's own attempts, still
-- executing, under its lease and within their time. Returns the records that it moved, as read.sql does.
--
-- All arrays are in order of id: the index is walked, and rows are locked, in that order, and a binary
-- search finds a row's place in them. A wrong place could only make the condition on the attempt fail.
--
-- Whatever it does not move is left to complete_if_own_or_earlier.sql; so is a body that is there already.
WITH done AS (
    UPDATE requests r
    SET state = CASE WHEN ($8::boolean[])[width_bucket(r.id, $1::uuid[])] THEN 2 ELSE 6 END,
        revision = r.revision + 1,
        late = false,
        changed = pg_current_xact_id(),
        been = (r.been | 2)::smallint,
        doubted = false,
        settled_at = now(),
        expires = GREATEST(r.expires, now() + ($4::bigint[])[width_bucket(r.id, $1::uuid[])] * interval '1 microsecond'),
        body_expires = CASE WHEN ($8::boolean[])[width_bucket(r.id, $1::uuid[])]
            THEN GREATEST(r.expires, now() + ($4::bigint[])[width_bucket(r.id, $1::uuid[])] * interval '1 microsecond')
                + (($3::bigint[])[width_bucket(r.id, $1::uuid[])] - ($4::bigint[])[width_bucket(r.id, $1::uuid[])]) * interval '1 microsecond'
            ELSE r.body_expires END,
        response_status = ($5::integer[])[width_bucket(r.id, $1::uuid[])],
        response_length = ($6::bigint[])[width_bucket(r.id, $1::uuid[])],
        response_digest = ($7::bytea[])[width_bucket(r.id, $1::uuid[])]
    WHERE r.id = ANY($1::uuid[]) AND r.attempt_id = ($2::uuid[])[width_bucket(r.id, $1::uuid[])]
        AND r.state = 1 AND r.owner = $12::uuid AND r.epoch = $13::bigint
        AND now() <= r.deadline + $14::bigint * interval '1 microsecond'
        AND EXISTS (SELECT FROM instances i WHERE i.id = $12::uuid AND i.epoch = $13::bigint AND i.lease_until > now())
    RETURNING width_bucket(r.id, $1::uuid[]) AS place, r.id, r.caller, r.key, r.state, r.revision, r.attempt, r.attempt_id, r.owner, r.epoch,
        r.fingerprint_version, r.fingerprint, r.method, r.target, r.route, r.resend, r.contradicted, r.trace,
        r.first_seen, r.claimed_at, r.deadline, r.settled_at, r.body_expires, r.expires,
        r.response_status, r.response_length, r.response_digest,
        r.resolved_at, r.resolved_by, r.resolved_evidence
), kept AS (
    INSERT INTO payloads (day, id, attempt_id, fields, body, seal)
    SELECT (d.body_expires AT TIME ZONE 'UTC')::date, d.id, d.attempt_id, ($9::bytea[])[d.place], ($10::bytea[])[d.place], ($11::bytea[])[d.place]
    FROM done d
    WHERE d.state = 2
), logged AS (
    INSERT INTO changes (xid, at, ids, callers)
    SELECT pg_current_xact_id(), now(), array_agg(d.id), array_agg(hashtextextended(d.caller, 0))
    FROM done d
    HAVING count(*) > 0
)
SELECT now(), true, false,
    d.id, d.caller, d.key, d.state, d.revision, d.attempt, d.attempt_id, d.owner, d.epoch,
    d.fingerprint_version, d.fingerprint, d.method, d.target, d.route, d.resend, false, d.contradicted, '', d.trace,
    d.first_seen, d.claimed_at, d.deadline, d.settled_at, d.body_expires, d.expires,
    d.response_status, d.response_length, d.response_digest,
    d.resolved_at, d.resolved_by, d.resolved_evidence
FROM done d
