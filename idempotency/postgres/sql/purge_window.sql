-- How many rows, the last one's place, how many of them have expired, and some of those. A record that
-- is not as old as the retention cannot have expired.
WITH rows AS (
    SELECT r.id, r.claimed_at, r.state IN (2, 3, 5, 6) AND NOT r.contradicted AND r.expires < now() - $5::bigint * interval '1 microsecond' AS expired
    FROM requests r
    WHERE r.claimed_at > $1::timestamptz AND r.claimed_at < now() - $2::bigint * interval '1 microsecond'
    ORDER BY r.claimed_at
    FETCH FIRST ($3::integer) ROWS WITH TIES
)
SELECT count(*), max(claimed_at), count(*) FILTER (WHERE expired),
    ARRAY(SELECT e.id FROM rows e WHERE e.expired ORDER BY e.claimed_at LIMIT $4::integer)
FROM rows
