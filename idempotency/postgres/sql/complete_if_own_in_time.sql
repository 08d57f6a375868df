-- The usual case of complete_if_own_or_earlier.sql: answers to one owner's own attempts, still executing,
-- under its lease and within their time, all to be kept for as long. Returns the places of those that it
-- moved: from records at the revision that the claim left, which the gateway therefore knows.
--
-- All arrays are in order of id: the index is walked, and rows are locked, in that order, and a binary
-- search finds a row's place in them. A wrong place could only make the condition on the attempt fail.
--
-- A body lives as bodyFrom in table.go says: no longer than a key's date may be ahead, whatever an earlier retention
-- has promised for the record.
--
-- The bodies come last: whoever sends a message in one buffer then makes it large once.
--
-- Whatever it does not move is left to complete_if_own_or_earlier.sql; so is a body that is there already.
WITH done AS (
    UPDATE requests r
    SET state = CASE WHEN ($7::bytea[])[width_bucket(r.id, $1::uuid[])] IS NULL THEN 6 ELSE 2 END,
        revision = r.revision + 1,
        late = false,
        doubted = false,
        changed = pg_current_xact_id(),
        been = (r.been | 2)::smallint,
        settled_at = now(),
        expires = GREATEST(r.expires, now() + $12::bigint * interval '1 microsecond'),
        body_expires = CASE WHEN ($7::bytea[])[width_bucket(r.id, $1::uuid[])] IS NULL THEN r.body_expires
            ELSE LEAST(GREATEST(r.expires - $12::bigint * interval '1 microsecond', now()), GREATEST(r.first_seen, now()) + interval '24 hours')
                + $11::bigint * interval '1 microsecond' END,
        response_status = ($4::integer[])[width_bucket(r.id, $1::uuid[])],
        response_length = ($5::bigint[])[width_bucket(r.id, $1::uuid[])],
        response_digest = ($6::bytea[])[width_bucket(r.id, $1::uuid[])]
    WHERE r.id = ANY($1::uuid[]) AND r.attempt_id = ($2::uuid[])[width_bucket(r.id, $1::uuid[])]
        AND r.revision = ($3::bigint[])[width_bucket(r.id, $1::uuid[])]
        AND r.state = 1 AND r.owner = $9::uuid AND r.epoch = $10::bigint
        AND now() <= r.deadline + $13::bigint * interval '1 microsecond'
        AND EXISTS (SELECT FROM instances i WHERE i.id = $9::uuid AND i.epoch = $10::bigint AND i.lease_until > now())
    RETURNING width_bucket(r.id, $1::uuid[]) AS place, r.id, r.caller, r.attempt_id, r.body_expires, r.state
), kept AS (
    INSERT INTO payloads (day, id, attempt_id, fields, body, seal)
    SELECT (d.body_expires AT TIME ZONE 'UTC')::date, d.id, d.attempt_id, ($7::bytea[])[d.place], ($14::bytea[])[d.place], ($8::bytea[])[d.place]
    FROM done d
    WHERE d.state = 2
), logged AS (
    INSERT INTO changes (xid, at, ids, callers)
    SELECT pg_current_xact_id(), now(), array_agg(d.id), array_agg(hashtextextended(d.caller, 0))
    FROM done d
    HAVING count(*) > 0
)
SELECT d.place, now() FROM done d
