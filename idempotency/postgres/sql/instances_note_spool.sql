UPDATE instances i
SET spool_depth = $2::bigint, spool_oldest = $3::timestamptz
WHERE i.id = $1::uuid
