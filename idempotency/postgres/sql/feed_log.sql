-- What these callers' records changed last in a window of the feed, after a place in it; with the day on which
-- a stored answer expires. Two callers may have one hash, so the record has the last word.
SELECT DISTINCT c.xid::text::bigint, e.id, CASE r.state WHEN 2 THEN (r.body_expires AT TIME ZONE 'UTC')::date END
FROM changes c
CROSS JOIN LATERAL unnest(c.ids, c.callers) AS e (id, caller)
JOIN requests r ON r.id = e.id AND r.changed = c.xid
WHERE c.xid >= $1::text::xid8 AND c.xid <= $2::text::xid8 AND (c.xid > $1::text::xid8 OR e.id > $3::uuid)
    AND e.caller IN (SELECT hashtextextended(k.caller, 0) FROM unnest($4::text[]) AS k (caller))
    AND r.caller IN (SELECT k.caller FROM unnest($4::text[]) AS k (caller))
ORDER BY 1, 2
LIMIT $5::integer
