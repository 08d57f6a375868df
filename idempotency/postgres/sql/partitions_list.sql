SELECT (now() AT TIME ZONE 'UTC')::date, c.relname::text, c.oid::regclass::text
FROM pg_inherits h
JOIN pg_class c ON c.oid = h.inhrelid
WHERE h.inhparent = 'payloads'::regclass
