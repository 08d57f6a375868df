SELECT e.attempt_id, e.n, e.kind, e.by, e.text, e.at,
    e.response_status, e.response_length, e.response_digest, e.fields, e.body, e.seal
FROM evidence e
WHERE e.operation = $1::uuid
ORDER BY e.at, e.n, e.kind
