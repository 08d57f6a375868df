-- What this transaction has changed of these records, in one row, if anything. (Without a number it has
-- changed nothing, and no record is looked at.)
INSERT INTO changes (xid, at, ids, callers)
SELECT pg_current_xact_id(), now(), array_agg(r.id), array_agg(hashtextextended(r.caller, 0))
FROM requests r
WHERE r.id = ANY($1::uuid[]) AND r.changed = pg_current_xact_id_if_assigned() AND pg_current_xact_id_if_assigned() IS NOT NULL
HAVING count(*) > 0
