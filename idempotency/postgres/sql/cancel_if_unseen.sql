-- For keys older than the store's last change see claim_if_unseen.sql.
INSERT INTO requests (id, caller, key, state, revision, attempt, attempt_id, owner, epoch,
    fingerprint_version, fingerprint, trace, first_seen, claimed_at, deadline, settled_at, expires, changed)
SELECT m.id, m.caller, m.key, 5, 1, 0, '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000', 0,
    0, decode(repeat('00', 32), 'hex'), m.trace, now(), now(), now(), now(),
    GREATEST(now(), m.key_date) + m.keep_key * interval '1 microsecond', pg_current_xact_id()
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[], $6::bytea[])
    AS m (id, caller, key, key_date, keep_key, trace)
WHERE m.key_date IS NULL OR m.key_date > COALESCE((SELECT i.changed_at FROM store_identity i WHERE i.one), '-infinity')
ORDER BY m.id
ON CONFLICT (id) DO NOTHING
