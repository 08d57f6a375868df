-- Long after anything of theirs can be executing. A process that still lives remembers its epochs. What
-- may hold answers is kept longer: operators are warned of it.
DELETE FROM instances i
WHERE i.swept AND i.lease_until < now() - CASE WHEN i.spool_depth IS NULL THEN interval '7 days' ELSE interval '90 days' END
