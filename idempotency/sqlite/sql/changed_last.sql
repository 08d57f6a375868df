-- Where records changed last.
SELECT id, changed FROM requests WHERE id IN (…)
