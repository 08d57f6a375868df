SELECT attempt, kind, n, by, text, at, status, length, digest, fields, body, seal
  FROM evidence
 WHERE id = ?1
 ORDER BY at, n, kind
