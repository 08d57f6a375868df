-- By where they lie: the index by id would have to be read at as many places that nothing else has in memory. A
-- record that changed since it was looked at lies elsewhere, and is left to the next walk. Rows are locked in the order
-- of places: should a batch hold some of them and want others, which nobody has asked for in a month, then
-- lock_timeout ends one of the two.
DELETE FROM requests r
WHERE r.ctid = ANY($2::text[]::tid[]) AND r.id = ANY($1::uuid[])
    AND r.state IN (2, 3, 5, 6) AND NOT r.contradicted AND r.expires < now() - $3::bigint * interval '1 microsecond'
