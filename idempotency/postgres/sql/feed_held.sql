-- Of these callers, those of whom something is committed that cannot be read yet; and how many rows were
-- looked at.
WITH held AS MATERIALIZED (
    SELECT c.callers
    FROM changes c
    WHERE c.xid >= pg_snapshot_xmin(pg_current_snapshot()) AND c.xid < pg_snapshot_xmax(pg_current_snapshot())
    ORDER BY c.xid
    LIMIT $2::integer
)
SELECT (SELECT count(*) FROM held),
    ARRAY(SELECT k.caller FROM unnest($1::text[]) AS k (caller)
        WHERE hashtextextended(k.caller, 0) IN (SELECT unnest(h.callers) FROM held h))
