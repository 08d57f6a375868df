-- Changes one row if the transaction has claimed the attempt.
INSERT INTO onceway_responses (operation, status, headers, body)
SELECT operation, ?3, ?4, ?5 FROM onceway_operations WHERE operation = ?1 AND executed = ?2
