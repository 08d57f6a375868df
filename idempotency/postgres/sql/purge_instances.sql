-- Long after anything of theirs can be executing. A process that still lives remembers its epochs.
DELETE FROM instances i WHERE i.swept AND i.lease_until < now() - interval '7 days'
