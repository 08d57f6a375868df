INSERT INTO requests (id, caller, key, state, revision, attempt, first_seen, claimed_at, settled_at, expires)
SELECT m.id, m.caller, m.key, 5, 1, 0, now(), now(), now(),
    GREATEST(now(), m.key_date) + m.keep_key * interval '1 microsecond'
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[])
    AS m (id, caller, key, key_date, keep_key)
ORDER BY m.id
ON CONFLICT (id) DO NOTHING
