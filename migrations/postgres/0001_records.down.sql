DROP TABLE walks, instances, evidence, payloads, requests;
DROP DOMAIN record_state, record_count, idempotency_key, sha256_digest, trace_ids, http_status, octets, words;
