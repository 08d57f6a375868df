-- As read.sql, but only records that exist and whose last attempt is not the one in the same place of
-- $2; in order of id.
SELECT now(),
    true,
    r.state = 1 AND COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false),
    r.id, r.caller, r.key, r.state, r.revision, r.attempt, r.attempt_id, r.owner, r.epoch,
    r.fingerprint_version, r.fingerprint, r.method, r.target, r.route, r.resend, r.doubted, r.contradicted, r.cause, r.trace,
    r.first_seen, r.claimed_at, r.deadline, r.settled_at, r.body_expires, r.expires,
    r.response_status, r.response_length, r.response_digest,
    r.resolved_at, r.resolved_by, r.resolved_evidence
FROM requests r
WHERE r.id = ANY($1::uuid[]) AND r.attempt_id IS DISTINCT FROM ($2::uuid[])[width_bucket(r.id, $1::uuid[])]
