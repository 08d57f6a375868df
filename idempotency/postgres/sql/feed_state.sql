-- What can be read of the feed now: everything below the oldest transaction that is still under way. What is
-- not below the newest was numbered by another server, before its contents were restored here.
--
-- The last row, and not the horizon, is where a reader goes on: its commit was flushed before it could be
-- seen, so no number up to its own is given out again after a crash.
SELECT s.xmin::text, s.xmax::text, now(),
    COALESCE((SELECT c.xid FROM changes c WHERE c.xid < s.xmin ORDER BY c.xid DESC LIMIT 1), '0')::text,
    COALESCE((SELECT i.identity FROM store_identity i WHERE i.one), '')
FROM (SELECT pg_snapshot_xmin(p) AS xmin, pg_snapshot_xmax(p) AS xmax FROM pg_current_snapshot() p) s
