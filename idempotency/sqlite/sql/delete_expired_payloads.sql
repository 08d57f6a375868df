DELETE FROM payloads
 WHERE seq IN (SELECT seq FROM payloads WHERE expires <= ?1 ORDER BY expires LIMIT ?2)
