-- Of each route some that are due, the longest due first. Those that another gateway is taking now are
-- left to it. The order and the condition are the index's.
WITH due AS (
    SELECT d.id
    FROM unnest($1::text[]) AS m (route)
    CROSS JOIN LATERAL (
        SELECT r.id
        FROM requests r
        WHERE r.route = m.route AND r.unknown_since IS NOT NULL AND GREATEST(r.unknown_since, r.probe_due) <= now()
        ORDER BY GREATEST(r.unknown_since, r.probe_due)
        LIMIT $2::integer
        FOR UPDATE SKIP LOCKED
    ) d
)
UPDATE requests r
SET probe_due = now() + $3::bigint * interval '1 microsecond'
WHERE r.id = ANY(ARRAY(SELECT d.id FROM due d))
RETURNING r.id
