SELECT count(*) FROM (
    SELECT FROM requests r WHERE r.caller = $1 AND r.unknown_since IS NOT NULL LIMIT $2
) found
