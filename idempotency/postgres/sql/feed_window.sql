-- How many rows a page of the feed looks at, and where they end. The rows of one transaction stay together.
SELECT count(*), COALESCE(max(w.xid), '0')::text
FROM (
    SELECT c.xid
    FROM changes c
    WHERE c.xid >= $1::text::xid8 AND c.xid < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY c.xid
    FETCH FIRST ($2::integer) ROWS WITH TIES
) w
