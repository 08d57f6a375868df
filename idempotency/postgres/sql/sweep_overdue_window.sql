-- How many rows, where to begin next time, and what is overdue among them. Next time begins before the
-- first one that is still executing in time, or else after the last one.
WITH rows AS (
    SELECT r.id, r.claimed_at, r.state, r.deadline
    FROM requests r
    WHERE r.claimed_at > $1::timestamptz AND r.claimed_at <= now() - $2::bigint * interval '1 microsecond'
    ORDER BY r.claimed_at
    FETCH FIRST ($3::integer) ROWS WITH TIES
)
SELECT count(*),
    COALESCE(min(claimed_at) FILTER (WHERE state = 1 AND now() <= deadline + $2::bigint * interval '1 microsecond') - interval '1 microsecond',
        max(claimed_at)),
    COALESCE(array_agg(id ORDER BY id) FILTER (WHERE state = 1 AND now() > deadline + $2::bigint * interval '1 microsecond'), '{}')
FROM rows
