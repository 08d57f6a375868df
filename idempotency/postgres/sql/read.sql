-- Records as stored, with what Derive needs, in the order asked for; without bodies.
SELECT now(),
    r.id IS NOT NULL,
    r.state = 1 AND COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false),
    m.id, r.caller, r.key, r.state, r.revision, r.attempt, r.attempt_id, r.owner, r.epoch,
    r.fingerprint_version, r.fingerprint, r.method, r.target, r.route, r.resend, r.doubted, r.contradicted, r.cause, r.trace,
    r.first_seen, r.claimed_at, r.deadline, r.settled_at, r.body_expires, r.expires,
    r.response_status, r.response_length, r.response_digest,
    r.resolved_at, r.resolved_by, r.resolved_evidence
FROM unnest($1::uuid[]) WITH ORDINALITY AS m (id, place)
LEFT JOIN requests r ON r.id = m.id AND r.id = ANY($1::uuid[])
ORDER BY m.place
