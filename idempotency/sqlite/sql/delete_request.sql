DELETE FROM requests WHERE seq = ?1
