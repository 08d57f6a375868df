-- Records as stored, with what Derive needs, in the order asked for. $2 names operations whose answer
-- the caller has in hand: unless somebody else stored it, it is not sent back.
-- (OFFSET 0 keeps the search for a payload a search by id and day, in that day's partition alone.)
SELECT now(),
    r.id IS NOT NULL,
    r.state = 1 AND COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false),
    r.caller, r.key, r.state, r.revision, r.attempt, r.attempt_id, r.owner, r.epoch,
    r.fingerprint_version, r.fingerprint, r.method, r.target, r.resend, r.doubted, r.contradicted, r.cause, r.trace,
    r.first_seen, r.claimed_at, r.deadline, r.settled_at, r.body_expires, r.expires,
    r.response_status, r.response_length, r.response_digest,
    r.resolved_at, r.resolved_by, r.resolved_evidence,
    p.fields, p.body, p.seal
FROM unnest($1::uuid[]) WITH ORDINALITY AS m (id, place)
LEFT JOIN requests r ON r.id = m.id AND r.id = ANY($1::uuid[])
LEFT JOIN LATERAL (
    SELECT p.fields, p.body, p.seal
    FROM payloads p
    WHERE p.id = r.id AND p.day = r.payload_day
        AND r.state = 2 AND r.body_expires > now()
        AND NOT (r.settled_at = now() AND r.id = ANY($2::uuid[]))
    OFFSET 0
) p ON true
ORDER BY m.place
