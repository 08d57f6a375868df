-- As read.sql, with the bodies that expire from day $2 to day $3. Only those days' partitions are
-- opened: with all of them this took as long as a whole batch of claims.
-- (OFFSET 0 keeps each search a search by id, whatever the statistics are when it is planned.)
SELECT now(),
    r.id IS NOT NULL,
    r.state = 1 AND COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false),
    m.id, r.caller, r.key, r.state, r.revision, r.attempt, r.attempt_id, r.owner, r.epoch,
    r.fingerprint_version, r.fingerprint, r.method, r.target, r.route, r.resend, r.doubted, r.contradicted, r.cause, r.trace,
    r.first_seen, r.claimed_at, r.deadline, r.settled_at, r.body_expires, r.expires,
    r.response_status, r.response_length, r.response_digest,
    r.resolved_at, r.resolved_by, r.resolved_evidence,
    p.fields, p.body, p.seal
FROM unnest($1::uuid[]) WITH ORDINALITY AS m (id, place)
LEFT JOIN LATERAL (SELECT * FROM requests s WHERE s.id = m.id OFFSET 0) r ON true
LEFT JOIN LATERAL (
    SELECT p.fields, p.body, p.seal
    FROM payloads p
    WHERE p.id = r.id AND p.day = (r.body_expires AT TIME ZONE 'UTC')::date AND p.day BETWEEN $2::date AND $3::date
        AND r.state = 2 AND r.body_expires > now()
    OFFSET 0
) p ON true
ORDER BY m.place
