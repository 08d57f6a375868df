-- Bodies, of the records that this transaction has removed, whose day is not past. The others went with their
-- partition, or will go with it.
DELETE FROM payloads p
WHERE p.id = ANY($1::uuid[]) AND p.day >= (now() AT TIME ZONE 'UTC')::date
    AND NOT EXISTS (SELECT FROM requests r WHERE r.id = p.id)
