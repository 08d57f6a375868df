-- How many rows, where to go on, the expired ones and where they lie, those of them whose bodies have not
-- gone with a partition yet, and when the last of them was claimed. A record that is not as old as the retention cannot have expired. What came at one
-- instant is looked at together, and where not all of it is taken the way goes on just before.
WITH rows AS (
    SELECT r.id, r.ctid AS place, r.claimed_at,
        r.state IN (2, 3, 5, 6) AND NOT r.contradicted AND r.expires < now() - $4::bigint * interval '1 microsecond' AS expired,
        r.body_expires >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS embodied
    FROM requests r
    WHERE r.claimed_at > $1::timestamptz AND r.claimed_at < now() - ($2::bigint + $4::bigint) * interval '1 microsecond'
    ORDER BY r.claimed_at
    FETCH FIRST ($3::integer) ROWS WITH TIES
), taken AS (
    SELECT t.id, t.place, t.claimed_at, t.embodied FROM rows t WHERE t.expired ORDER BY t.claimed_at LIMIT $3::integer
)
SELECT (SELECT count(*) FROM rows),
    CASE WHEN (SELECT count(*) FROM rows t WHERE t.expired) > $3::integer
        THEN (SELECT max(t.claimed_at) - interval '1 microsecond' FROM taken t)
        ELSE (SELECT max(t.claimed_at) FROM rows t) END,
    ARRAY(SELECT t.id FROM taken t),
    ARRAY(SELECT t.place::text FROM taken t),
    ARRAY(SELECT t.id FROM taken t WHERE t.embodied),
    (SELECT max(t.claimed_at) FROM taken t)
