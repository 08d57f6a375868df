-- $2 are the days on which the answers expire, which never change: with them the other days' partitions need not be
-- opened. NULL: they may be any.
WITH done AS (
    UPDATE requests r
    SET state = 6, revision = r.revision + 1, changed = pg_current_xact_id(), been = (r.been | (1 << r.state))::smallint
    WHERE r.id = ANY($1::uuid[]) AND r.state = 2
        AND ($2::date[] IS NULL OR (r.body_expires AT TIME ZONE 'UTC')::date = ANY($2::date[]))
    RETURNING r.id, (r.body_expires AT TIME ZONE 'UTC')::date AS day
)
DELETE FROM payloads p
USING done d
WHERE p.id = ANY($1::uuid[]) AND p.id = d.id AND p.day = d.day AND ($2::date[] IS NULL OR p.day = ANY($2::date[]))
