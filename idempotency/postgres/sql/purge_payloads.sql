-- Bodies whose day is not past. The others went with their partition, or will go with it.
DELETE FROM payloads p
WHERE p.id IN (
    SELECT r.id FROM requests r
    WHERE r.id = ANY($1::uuid[]) AND r.state IN (2, 3, 5, 6) AND NOT r.contradicted AND r.expires < now() - $2::bigint * interval '1 microsecond')
    AND p.id = ANY($1::uuid[])
    AND p.day >= (now() AT TIME ZONE 'UTC')::date
