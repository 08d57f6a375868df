UPDATE instances i SET swept = true WHERE i.id = $1::uuid AND i.epoch = $2::bigint
