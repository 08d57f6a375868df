-- For how long the oldest change that cannot be read yet has been waiting, in microseconds.
SELECT COALESCE((SELECT (extract(epoch FROM clock_timestamp() - c.at) * 1000000)::bigint
    FROM changes c
    WHERE c.xid >= pg_snapshot_xmin(pg_current_snapshot()) AND c.xid < pg_snapshot_xmax(pg_current_snapshot())
    ORDER BY c.xid
    LIMIT 1), 0)
