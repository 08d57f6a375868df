UPDATE instances i
SET lease_until = clock_timestamp() + $3::bigint * interval '1 microsecond'
WHERE i.id = $1::uuid AND i.epoch = $2::bigint
    AND i.lease_until > clock_timestamp() + $3::bigint / 6 * interval '1 microsecond'
