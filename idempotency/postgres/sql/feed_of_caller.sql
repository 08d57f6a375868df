-- One caller's records, if they are not more than $2, in no order.
SELECT r.changed::text, r.id, CASE r.state WHEN 2 THEN (r.body_expires AT TIME ZONE 'UTC')::date END, r.claimed_at
FROM requests r
WHERE r.caller = $1::text
LIMIT $2::integer
