SELECT fields, body, seal FROM payloads WHERE seq = ?1
