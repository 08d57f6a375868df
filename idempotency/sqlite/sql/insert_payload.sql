INSERT INTO payloads (seq, fields, body, seal, expires) VALUES (?1, ?2, ?3, ?4, ?5)
