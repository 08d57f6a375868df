-- Records as read.sql has them, with the fields of their answers, but not the bodies, which expire from day $2
-- to day $3; and the states that they were in before.
SELECT now(),
    true,
    r.state = 1 AND COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false),
    r.id, r.caller, r.key, r.state, r.revision, r.attempt, r.attempt_id, r.owner, r.epoch,
    r.fingerprint_version, r.fingerprint, r.method, r.target, r.route, r.resend, r.doubted, r.contradicted, r.cause, r.trace,
    r.first_seen, r.claimed_at, r.deadline, r.settled_at, r.body_expires, r.expires,
    r.response_status, r.response_length, r.response_digest,
    r.resolved_at, r.resolved_by, r.resolved_evidence,
    p.fields, NULL::bytea, p.seal, r.been
FROM requests r
LEFT JOIN LATERAL (
    SELECT p.fields, p.seal
    FROM payloads p
    WHERE p.id = r.id AND p.day = (r.body_expires AT TIME ZONE 'UTC')::date AND p.day BETWEEN $2::date AND $3::date
        AND r.state = 2 AND r.body_expires > now()
    OFFSET 0
) p ON true
WHERE r.id = ANY($1::uuid[])
