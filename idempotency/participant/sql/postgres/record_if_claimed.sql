-- Changes one row if the transaction has claimed the attempt.
INSERT INTO onceway_responses (operation, status, headers, body)
SELECT operation, $3::smallint, $4::jsonb, $5::bytea FROM onceway_operations WHERE operation = $1::uuid AND executed = $2
