-- Stored as unknown, or executing without an owner or past its time; and about the last attempt. The
-- first note stays.
INSERT INTO evidence (operation, attempt_id, n, kind, by, text, at)
SELECT r.id, r.attempt_id, r.attempt, 'absence', m.by, m.text, now()
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[]) AS m (id, n, by, text)
JOIN requests r ON r.id = m.id AND r.id = ANY($1::uuid[])
WHERE r.attempt = m.n
    AND (r.state = 4
        OR r.state = 1 AND (now() > r.deadline + $5::bigint * interval '1 microsecond'
            OR NOT COALESCE((SELECT i.lease_until > now() FROM instances i WHERE i.id = r.owner AND i.epoch = r.epoch), false)))
ON CONFLICT (operation, attempt_id, kind) DO NOTHING
