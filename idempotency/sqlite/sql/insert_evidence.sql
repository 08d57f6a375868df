INSERT INTO evidence (id, attempt, kind, n, by, text, at, status, length, digest, fields, body, seal)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
ON CONFLICT (id, attempt, kind) DO NOTHING
