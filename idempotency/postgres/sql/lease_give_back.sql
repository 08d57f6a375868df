UPDATE instances i
SET lease_until = clock_timestamp()
WHERE i.id = $1::uuid AND i.epoch = $2::bigint AND i.lease_until > clock_timestamp()
