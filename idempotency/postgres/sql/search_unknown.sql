-- What is asked for among what is stored as unknown: all of it is read by its own index, and not along all records.
WITH few AS MATERIALIZED (
    SELECT r.* FROM requests r WHERE r.unknown_since IS NOT NULL
)
SELECT now(),
    true,
    r.state = 1 AND COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false),
    r.id, r.caller, r.key, r.state, r.revision, r.attempt, r.attempt_id, r.owner, r.epoch,
    r.fingerprint_version, r.fingerprint, r.method, r.target, r.route, r.resend, r.doubted, r.contradicted, r.cause, r.trace,
    r.first_seen, r.claimed_at, r.deadline, r.settled_at, r.body_expires, r.expires,
    r.response_status, r.response_length, r.response_digest,
    r.resolved_at, r.resolved_by, r.resolved_evidence
FROM few r
WHERE (r.claimed_at, r.id) < ($1::timestamptz, $2::uuid)
    AND r.claimed_at BETWEEN now() - $3::bigint * interval '1 microsecond' AND now() - $4::bigint * interval '1 microsecond'
    AND ($5::smallint = 0 OR r.state = $5::smallint AND NOT (r.state = 2 AND r.body_expires <= now())
        OR $5::smallint = 6 AND r.state = 2 AND r.body_expires <= now())
    AND ($6::text IS NULL OR r.caller = $6::text)
    AND ($7::text = '' OR r.route = $7::text)
    AND ($8::bytea IS NULL OR substr(r.trace, 1, 16) = $8::bytea)
ORDER BY r.claimed_at DESC, r.id DESC
LIMIT $9::integer
