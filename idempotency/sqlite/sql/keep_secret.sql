UPDATE feed SET secret = ?1 WHERE secret IS NULL
