-- One owner's new attempts, in order of id, all to be kept for as long. Says of which operations there was no
-- record; whether the owner has a lease goes with it, for Derive. That there is none proves nothing about a
-- key which is older than the store's last change: the store may have lost it.
--
-- (SRFs in a select list run in step and, unlike those in FROM, fill no tuplestore each.)
WITH done AS (
    INSERT INTO requests AS r (id, caller, key, state, revision, attempt, attempt_id, owner, epoch,
        fingerprint_version, fingerprint, method, target, route, resend, trace, first_seen, claimed_at, deadline, expires, changed)
    SELECT m.id, m.caller, m.key, 1, 1, 1, m.attempt_id, $5::uuid, $6::bigint,
        $7::smallint, m.fingerprint, m.method, m.target, m.route, m.resend, m.trace,
        now(), now(), now() + m.budget * interval '1 microsecond',
        GREATEST(now(), m.key_date) + $14::bigint * interval '1 microsecond', pg_current_xact_id()
    FROM (
        SELECT unnest($1::uuid[]) AS id, unnest($2::text[]) AS caller, unnest($3::text[]) AS key, unnest($4::uuid[]) AS attempt_id,
            unnest($8::bytea[]) AS fingerprint,
            unnest($9::text[]) AS method, unnest($10::text[]) AS target, unnest($11::bigint[]) AS budget,
            unnest($12::boolean[]) AS resend, unnest($13::timestamptz[]) AS key_date,
            unnest($15::bytea[]) AS trace, unnest($16::text[]) AS route
    ) m
    WHERE m.key_date IS NULL OR m.key_date > COALESCE((SELECT i.changed_at FROM store_identity i WHERE i.one), '-infinity')
    ON CONFLICT (id) DO NOTHING
    RETURNING r.id, r.caller
), logged AS (
    INSERT INTO changes (xid, at, ids, callers)
    SELECT pg_current_xact_id(), now(), array_agg(d.id), array_agg(hashtextextended(d.caller, 0))
    FROM done d
    HAVING count(*) > 0
)
SELECT d.id, now(),
    EXISTS (SELECT FROM instances i WHERE i.id = $5::uuid AND i.epoch = $6::bigint AND i.lease_until > now())
FROM done d
