WITH done AS (
    UPDATE requests r
    SET state = 6, revision = r.revision + 1, changed = pg_current_xact_id(), been = (r.been | (1 << r.state))::smallint
    WHERE r.id = ANY($1::uuid[]) AND r.state = 2
    RETURNING r.id, (r.body_expires AT TIME ZONE 'UTC')::date AS day
)
DELETE FROM payloads p
USING done d
WHERE p.id = ANY($1::uuid[]) AND p.id = d.id AND p.day = d.day
