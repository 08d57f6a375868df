package problem

// Field names of the protocol, in canonical form.
const (
	HeaderKey            = "Idempotency-Key"             // default; a route can name another
	HeaderFirstSent      = "Idempotency-First-Sent"      // RFC 3339 date of the first attempt
	HeaderDeadline       = "Idempotency-Deadline"        // RFC 3339 instant after which no attempt may start
	HeaderState          = "Idempotency-State"           // a State
	HeaderNext           = "Idempotency-Next"            // a Next
	HeaderReplayed       = "Idempotent-Replayed"         // "true" on replayed and attached answers
	HeaderResolved       = "Idempotency-Resolved"        // "probe" or "operator"
	HeaderExpires        = "Idempotency-Expires"         // HTTP date until which the key protects
	HeaderResponseStatus = "Idempotency-Response-Status" // status of a stored response that is being read

	HeaderOperation = "Onceway-Operation" // to the backend: UUID of the operation
	HeaderAttempt   = "Onceway-Attempt"   // to the backend: 1, 2, …
	HeaderCaller    = "Onceway-Caller"    // to the backend: the authenticated caller

	HeaderRetryAfter        = "Retry-After"
	HeaderLink              = "Link"
	HeaderPrefer            = "Prefer"             // RFC 7240
	HeaderPreferenceApplied = "Preference-Applied" // RFC 7240, section 3
)

// ContentType is the media type of a problem (RFC 9457, section 6.1).
const ContentType = "application/problem+json"

// PagesPath precedes a slug in the type of a problem and in the path of its page.
const PagesPath = "/.well-known/idempotency/problems/"

// StatusLink returns the value of a Link field that leads to a record.
func StatusLink(url string) string { return "<" + url + StatusRelation }

// StatusRelation is how the value of a Link field ends that leads to a record.
const StatusRelation = `>; rel="status"`
