SELECT r.seq, r.id, r.caller, r.key, r.state, r.revision, r.n, r.attempt, r.instance, r.epoch,
       r.fingerprint_version, r.fingerprint, r.method, r.target, r.trace, r.resend, r.doubted, r.contradicted,
       r.cause, r.status, r.length, r.digest, r.resolved_by, r.resolved_evidence, r.resolved_at,
       r.first_seen, r.claimed, r.deadline, r.settled, r.body_expires, r.expires, r.route, r.been,
       p.fields, p.body, p.seal
  FROM requests r
  LEFT JOIN payloads p ON p.seq = r.seq AND r.state = 2 AND r.body_expires > ?1
 WHERE r.id IN (…)
