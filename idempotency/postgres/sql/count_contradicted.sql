SELECT count(*) FROM requests r WHERE r.contradicted
