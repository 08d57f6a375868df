-- How many rows, the last one, the place before the first that is still executing in time, and what is overdue.
WITH rows AS (
    SELECT r.id, r.claimed_at, r.state, r.deadline
    FROM requests r
    WHERE r.claimed_at > $1::timestamptz AND r.claimed_at <= now() - $2::bigint * interval '1 microsecond'
    ORDER BY r.claimed_at
    FETCH FIRST ($3::integer) ROWS WITH TIES
)
SELECT count(*),
    max(claimed_at),
    min(claimed_at) FILTER (WHERE state = 1 AND now() <= deadline + $2::bigint * interval '1 microsecond') - interval '1 microsecond',
    COALESCE(array_agg(id ORDER BY id) FILTER (WHERE state = 1 AND now() > deadline + $2::bigint * interval '1 microsecond'), '{}')
FROM rows
