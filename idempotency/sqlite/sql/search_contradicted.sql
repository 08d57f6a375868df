-- As search.sql, of contradicted records.
SELECT seq, id, caller, key, state, revision, n, attempt, instance, epoch, fingerprint_version, fingerprint,
       method, target, trace, resend, doubted, contradicted, cause, status, length, digest,
       resolved_by, resolved_evidence, resolved_at, first_seen, claimed, deadline, settled, body_expires, expires, route, been
  FROM requests INDEXED BY requests_contradicted
 WHERE contradicted = 1 AND seq < ?1
 ORDER BY seq DESC
 LIMIT ?2
