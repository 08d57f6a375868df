DELETE FROM changes WHERE number = ?1
