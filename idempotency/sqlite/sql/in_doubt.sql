SELECT count(*) FROM requests WHERE state = 4
