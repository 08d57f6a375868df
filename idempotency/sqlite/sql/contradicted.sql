SELECT count(*) FROM requests WHERE contradicted = 1
