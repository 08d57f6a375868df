-- As search.sql, of what is executing or in doubt.
SELECT seq, id, caller, key, state, revision, n, attempt, instance, epoch, fingerprint_version, fingerprint,
       method, target, trace, resend, doubted, contradicted, cause, status, length, digest,
       resolved_by, resolved_evidence, resolved_at, first_seen, claimed, deadline, settled, body_expires, expires, route, been
  FROM requests INDEXED BY requests_open
 WHERE state IN (1, 4) AND seq < ?1
 ORDER BY seq DESC
 LIMIT ?2
