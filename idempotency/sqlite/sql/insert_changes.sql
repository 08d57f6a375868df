INSERT INTO changes (number, at, entries) VALUES (?1, ?2, ?3)
