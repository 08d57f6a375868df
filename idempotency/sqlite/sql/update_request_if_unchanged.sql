UPDATE requests
   SET state = ?3, revision = ?4, n = ?5, attempt = ?6, instance = ?7, epoch = ?8,
       fingerprint_version = ?9, fingerprint = ?10, method = ?11, target = ?12, trace = ?13,
       resend = ?14, doubted = ?15, contradicted = ?16, cause = ?17,
       status = ?18, length = ?19, digest = ?20,
       resolved_by = ?21, resolved_evidence = ?22, resolved_at = ?23,
       claimed = ?24, deadline = ?25, settled = ?26, body_expires = ?27, expires = ?28, route = ?29,
       changed = ?30, been = ?31,
       probe_due = CASE WHEN state = 4 AND ?3 = 4 THEN probe_due END
 WHERE id = ?1 AND revision = ?2
