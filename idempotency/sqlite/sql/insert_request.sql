INSERT INTO requests (
  id, caller, key, first_seen,
  state, revision, n, attempt, instance, epoch, fingerprint_version, fingerprint,
  method, target, trace, resend, doubted, contradicted, cause, status, length, digest,
  resolved_by, resolved_evidence, resolved_at, claimed, deadline, settled, body_expires, expires, route,
  changed, been
) VALUES (
  ?1, ?2, ?3, ?4,
  ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
  ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
  ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31,
  ?32, ?33
) ON CONFLICT (id) DO NOTHING
