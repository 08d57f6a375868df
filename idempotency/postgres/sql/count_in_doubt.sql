SELECT count(*) FROM requests r WHERE r.unknown_since IS NOT NULL
