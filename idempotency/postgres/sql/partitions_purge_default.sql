DELETE FROM payloads_default p
WHERE (p.id, p.day) IN (SELECT d.id, d.day FROM payloads_default d WHERE d.day < $1::date LIMIT $2::integer)
