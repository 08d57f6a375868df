-- Also whether it became that one so lately that other gateways may still be bringing back what it lacks.
SELECT i.identity, i.changed_at > clock_timestamp() - $1::bigint * interval '1 microsecond'
FROM store_identity i
WHERE i.one
