SELECT EXISTS (SELECT FROM payloads_default p WHERE p.day = $1::date)
