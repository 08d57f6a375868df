-- Some of a caller's records that may be older than the feed, or came from another server.
SELECT r.changed::text, r.id, CASE r.state WHEN 2 THEN (r.body_expires AT TIME ZONE 'UTC')::date END, r.claimed_at
FROM requests r
WHERE r.caller = $1::text AND (r.claimed_at, r.id) > ($2::timestamptz, $3::uuid)
    AND r.claimed_at <= (SELECT GREATEST(f.since, (SELECT i.changed_at FROM store_identity i WHERE i.one)) FROM feed f WHERE f.one)
ORDER BY r.claimed_at, r.id
LIMIT $4::integer
