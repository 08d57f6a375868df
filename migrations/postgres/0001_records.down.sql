DROP TABLE walks, instances, evidence, payloads, requests;
DROP DOMAIN record_state, record_count, attempt_number, idempotency_key, sha256_digest, trace_ids, http_status, octets;
