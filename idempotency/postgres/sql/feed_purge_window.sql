-- Where a step of the walk along the feed ends: at rows that are old enough. Locked, so that one gateway walks.
WITH rows AS (
    SELECT c.xid, c.at
    FROM changes c
    WHERE c.xid > (SELECT w.xid FROM walks w WHERE w.name = 'changes')
    ORDER BY c.xid
    FETCH FIRST ($1::integer) ROWS WITH TIES
)
SELECT count(*), COALESCE(max(xid) FILTER (WHERE at < now() - $2::bigint * interval '1 microsecond'), '0')::text
FROM rows
