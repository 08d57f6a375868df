INSERT INTO requests (id, caller, key, state, revision, attempt, attempt_id, owner, epoch,
    fingerprint_version, fingerprint, method, target, resend, trace, first_seen, claimed_at, deadline, expires)
SELECT m.id, m.caller, m.key, 1, 1, 1, m.attempt_id, m.owner, m.epoch,
    m.fingerprint_version, m.fingerprint, m.method, m.target, m.resend, m.trace,
    now(), now(), now() + m.budget * interval '1 microsecond',
    GREATEST(now(), m.key_date) + m.keep_key * interval '1 microsecond'
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::bigint[], $7::smallint[], $8::bytea[],
        $9::text[], $10::text[], $11::bigint[], $12::boolean[], $13::timestamptz[], $14::bigint[], $15::bytea[])
    AS m (id, caller, key, attempt_id, owner, epoch, fingerprint_version, fingerprint,
        method, target, budget, resend, key_date, keep_key, trace)
ORDER BY m.id
ON CONFLICT (id) DO NOTHING
