DELETE FROM evidence e
WHERE e.operation IN (
    SELECT r.id FROM requests r
    WHERE r.id = ANY($1::uuid[]) AND r.state IN (2, 3, 5, 6) AND NOT r.contradicted AND r.expires < now() - $2::bigint * interval '1 microsecond')
    AND e.operation = ANY($1::uuid[])
