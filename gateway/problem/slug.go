package problem

import "net/http"

// Slug names a problem: the last segment of its type, and its code.
type Slug uint8

const (
	KeyMissing Slug = iota + 1
	KeyMalformed
	PathAmbiguous
	RequestMalformed
	Unauthenticated
	Forbidden
	NoRoute
	MethodNotAllowed
	RequestTooLarge
	KeyReused
	RateLimited
	Overloaded
	StoreUnavailable
	InProgress
	BackendUnreachable
	OutcomeUnknown
	OperationCancelled
	ResponseForgotten
	KeyTooOld
	DeadlinePassed
	RecordDamaged
	Internal
	OperationUnseen
	NotSettled
	TooLate
	TooManyKeys
	CursorExpired
	NoRecord
	EvidenceMissing
	AlreadySettled
	AttemptChanged
	OwnerMayHoldAnswers
	UnsupportedMediaType
	RangeNotSatisfiable
	PreconditionFailed
	slugCount = iota + 1
)

// SlugCount is the number of slugs, the zero value included: the length of a table indexed by Slug.
const SlugCount = slugCount

// Slugs lists every slug.
func Slugs() []Slug {
	all := make([]Slug, 0, slugCount-1)
	for s := KeyMissing; s < slugCount; s++ {
		all = append(all, s)
	}
	return all
}

// String returns the slug as it is on the wire, and "" for the zero value.
func (s Slug) String() string { return table[s].slug }

// Status returns the status that the problem usually has.
func (s Slug) Status() int { return s.row().status }

// ParseSlug finds a slug by its wire form.
func ParseSlug(name string) (Slug, bool) {
	for _, s := range Slugs() {
		if table[s].slug == name {
			return s, true
		}
	}
	return 0, false
}

func (s Slug) row() *row {
	if s == 0 || s >= slugCount {
		panic("problem: a problem without a slug")
	}
	return &table[s]
}

// row is what is always true of a problem. Meaning and advice are its page; meaning is also the
// detail of a problem that was given none.
type row struct {
	slug    string
	status  int
	title   string
	state   State
	next    Next
	retry   backoff // only where next asks for Retry-After
	meaning string
	advice  string
}

var table = [slugCount]row{
	KeyMissing: {
		slug: "key-missing", status: http.StatusBadRequest, title: "Idempotency key missing", state: Rejected, next: Stop,
		meaning: "The route requires an idempotency key, and the request has none. Nothing was sent to the backend.",
		advice:  "Make a new random key, best a UUIDv7, for each thing that your user wants to happen, and send it in the header that the detail names (by default Idempotency-Key). Keep the key together with the intent, and use it again for every retry of that intent. Never make a new key for a retry: to the gateway that is a second order.",
	},
	KeyMalformed: {
		slug: "key-malformed", status: http.StatusBadRequest, title: "Idempotency key malformed", state: Rejected, next: Stop,
		meaning: "The value of the key header is not an idempotency key. Nothing was sent to the backend.",
		advice:  "A key is 1 to 255 characters of A-Z a-z 0-9 - . _ ~ : + / = @ without quotes, or a string between double quotes of visible ASCII without spaces. There must be exactly one header line with exactly one key and no parameters. A UUIDv7 fits and is recommended.",
	},
	PathAmbiguous: {
		slug: "path-ambiguous", status: http.StatusBadRequest, title: "Path ambiguous", state: Rejected, next: Stop,
		meaning: "The path contains //, a dot segment, or an encoded slash, backslash or NUL. Different servers read such a path differently, so that nobody could say whether two requests are the same one. Nothing was sent to the backend.",
		advice:  "Send the path in its plain form. If the backend really needs it as it is, an operator can set raw_paths on the route.",
	},
	RequestMalformed: {
		slug: "request-malformed", status: http.StatusBadRequest, title: "Request malformed", state: Rejected, next: Stop,
		meaning: "The request is incomplete or cannot be read: its body ended early, or a header or parameter does not have the form that the detail describes. It left no trace, and nothing was sent to the backend.",
		advice:  "Send the whole request. If the connection broke during the upload, send it again with the same key: the key has not been used.",
	},
	Unauthenticated: {
		slug: "unauthenticated", status: http.StatusUnauthorized, title: "Not authenticated", state: Rejected, next: Stop,
		meaning: "The gateway could not establish who is asking. An idempotency key belongs to a caller, so that without a caller nothing is looked up and nothing is executed.",
		advice:  "Send valid credentials. A retry with the same key and refreshed credentials of the same caller finds the same record.",
	},
	Forbidden: {
		slug: "forbidden", status: http.StatusForbidden, title: "Not allowed", state: Rejected, next: Stop,
		meaning: "The caller is known and may not do this. Nothing was sent to the backend.",
		advice:  "Ask the operator of this gateway for access. Sending the request again will not help until then.",
	},
	NoRoute: {
		slug: "no-route", status: http.StatusNotFound, title: "No route", state: Rejected, next: Stop,
		meaning: "No route of this gateway matches the method, host and path. Nothing was sent anywhere.",
		advice:  "Check the address. Operators can see how a request is matched with: onceway routes test METHOD URL.",
	},
	MethodNotAllowed: {
		slug: "method-not-allowed", status: http.StatusMethodNotAllowed, title: "Method not allowed", state: Rejected, next: Stop,
		meaning: "This address of the gateway's own interface does not know the method. Nothing was changed.",
		advice:  "Use one of the methods in the Allow header.",
	},
	RequestTooLarge: {
		slug: "request-too-large", status: http.StatusRequestEntityTooLarge, title: "Request too large", state: Rejected, next: Stop,
		meaning: "The body is larger than the limit that the detail names. A protected request is read whole before it is sent, so its size is limited. Nothing was sent to the backend, and the key has not been used.",
		advice:  "Send less, or ask the operator to raise max_request_body on the route. Large uploads are better sent unprotected first and then confirmed by a small protected request.",
	},
	KeyReused: {
		slug: "key-reused", status: http.StatusUnprocessableEntity, title: "Key used for another request", state: Rejected, next: Stop,
		meaning: "The key belongs to an earlier request that differs in method, host, target, media type, content encoding or body. This request was not executed, and the earlier one's answer is not shown for it.",
		advice:  "If this is a retry, send exactly the bytes of the first attempt: a new timestamp or another order of JSON members is another request. If it is a new intent, give it a new key. The record of the key can be read at the reconciliation address.",
	},
	RateLimited: {
		slug: "rate-limited", status: http.StatusTooManyRequests, title: "Too many requests", state: Rejected, next: Resend, retry: backoff{1, 3},
		meaning: "This caller sends more than its limit allows. Nothing was sent to the backend, and the key has not been used.",
		advice:  "Wait as long as Retry-After says, then send the same request with the same key. Spread further attempts out.",
	},
	Overloaded: {
		slug: "overloaded", status: http.StatusServiceUnavailable, title: "No new attempt now", state: Rejected, next: Resend, retry: backoff{1, 4},
		meaning: "The gateway starts no new attempt at the moment: it is overloaded or shutting down, or the backend is known to be ill. This request was not sent to the backend. Operations that are already settled are still answered.",
		advice:  "Wait as long as Retry-After says, then send the same request with the same key.",
	},
	StoreUnavailable: {
		slug: "store-unavailable", status: http.StatusServiceUnavailable, title: "Store unavailable", state: Rejected, next: Resend, retry: backoff{2, 6},
		meaning: "The gateway's store did not answer in time. Without a durable record nothing is sent, so this request was not executed.",
		advice:  "Wait as long as Retry-After says, then send the same request with the same key. Operators find the cause in the gateway's log and at /readyz.",
	},
	InProgress: {
		slug: "in-progress", status: http.StatusConflict, title: "Still in progress", state: Executing, next: Wait, retry: retryWait,
		meaning: "An attempt of this operation is running, and it did not end while this request waited for it. This request executed nothing.",
		advice:  "Send the same request with the same key again, or read the record at status_url with a wait parameter. Prefer: wait=N makes the gateway hold a duplicate for up to N seconds.",
	},
	BackendUnreachable: {
		slug: "backend-unreachable", status: http.StatusServiceUnavailable, title: "Backend not reached", state: NotExecuted, next: Resend, retry: retryResend,
		meaning: "There is proof that no byte of the request reached the backend: no connection could be made, or nothing was written to it. The operation was not executed.",
		advice:  "Send the same request with the same key. It will be executed as the next attempt.",
	},
	OutcomeUnknown: {
		slug: "outcome-unknown", status: http.StatusConflict, title: "Outcome unknown", state: Unknown, next: Reconcile, retry: retryReconcile,
		meaning: "The request was sent to the backend, and no complete answer came back. It may or may not have been executed, and nobody can tell from here. Unless its backend recognises copies, the gateway will not execute it again, so a retry cannot do it twice.",
		advice:  "Do not send it under a new key: that could execute it a second time. Read the record at status_url, if you like with a wait parameter; it changes when the late answer arrives, when a probe finds out, or when an operator resolves it; if its next is resend, send the same request with the same key. If you can look into the backend yourself, search for the operation id. Tell the user that the outcome is being checked.",
	},
	OperationCancelled: {
		slug: "cancelled", status: http.StatusConflict, title: "Operation cancelled", state: Cancelled, next: Stop,
		meaning: "The operation was cancelled before it was executed. It was not executed and never will be under this key.",
		advice:  "If it is wanted after all, that is a new intent: send it with a new key.",
	},
	ResponseForgotten: {
		slug: "response-forgotten", status: http.StatusGone, title: "Response forgotten", state: Forgotten, next: Done,
		meaning: "The operation was executed once, and its response body is no longer here: it was acknowledged, too old or too large, or the operation was resolved without one. Where they are known, the member response has the original status, length and digest.",
		advice:  "Do not send it again: it is done. If you need the result, read it from the backend's own interface.",
	},
	KeyTooOld: {
		slug: "key-too-old", status: http.StatusPreconditionFailed, title: "Key too old", state: Rejected, next: Stop,
		meaning: "The date of the key is older than the time for which records are kept, and there is no record. The operation may have been executed long ago, so it is not executed now.",
		advice:  "Compare your clock with the Date header of this answer: a wrong clock makes old keys. If the intent really is that old, find out from the backend whether it was executed before you send it under a new key.",
	},
	DeadlinePassed: {
		slug: "deadline-passed", status: http.StatusPreconditionFailed, title: "Deadline passed", state: Rejected, next: Stop,
		meaning: "The instant in Idempotency-Deadline passed before an attempt could start. This request was not executed.",
		advice:  "If the operation is still wanted, send it again with the same key and a later deadline, or without one.",
	},
	RecordDamaged: {
		slug: "record-damaged", status: http.StatusInternalServerError, title: "Record damaged", state: Unknown, next: Reconcile, retry: backoff{30, 60},
		meaning: "What the store has for this operation does not match its digest. The gateway shows no damaged answer and does not execute the operation again. Its operators have been alarmed.",
		advice:  "Do not send it under a new key. Ask the operator of this gateway, and name the operation id. The outcome can also be found in the backend.",
	},
	Internal: {
		slug: "internal", status: http.StatusInternalServerError, title: "Internal fault", state: Rejected, next: Reconcile, retry: retryReconcile,
		meaning: "The gateway itself made a mistake. State says what is known of the operation.",
		advice:  "Read the record of the key at the reconciliation address before you do anything else. If there is none, send the same request with the same key. If it happens again, tell the operator of this gateway and name the trace id.",
	},
	OperationUnseen: {
		// The delay is fixed: a foreign key must look byte for byte like an unseen one.
		slug: "unseen", status: http.StatusNotFound, title: "Operation unseen", state: Unseen, next: Resend, retry: backoff{0, 0},
		meaning: "No request of this caller with this key has arrived so far. It may still be on its way.",
		advice:  "Send the request with this key. If it should not be executed any more, cancel the key instead: that also stops a request that arrives late.",
	},
	NotSettled: {
		slug: "not-settled", status: http.StatusConflict, title: "Operation not settled", state: Executing, next: Wait, retry: retryWait,
		meaning: "The operation has no final answer yet, so there is none to read or to acknowledge. State says where it stands.",
		advice:  "Do what next says. Reading the record with a wait parameter returns as soon as it is settled.",
	},
	TooLate: {
		slug: "too-late", status: http.StatusConflict, title: "Too late to cancel", state: Executing, next: Wait, retry: retryWait,
		meaning: "The operation cannot be cancelled any more: it is being executed, was executed, or may have been. State says which.",
		advice:  "Do what next says. To undo something that was executed, use the backend's own interface under a new key.",
	},
	TooManyKeys: {
		slug: "too-many-keys", status: http.StatusBadRequest, title: "Too many keys", state: Rejected, next: Stop,
		meaning: "A query names more keys than one call may. Nothing was looked up.",
		advice:  "Ask for at most 100 keys in one call, and make several calls.",
	},
	CursorExpired: {
		slug: "cursor-expired", status: http.StatusGone, title: "Cursor expired", state: Rejected, next: Reconcile, retry: retryReconcile,
		meaning: "The feed cannot be continued from this cursor: it is too old, or the store was restored and its order of changes is another one.",
		advice:  "Start again with an empty cursor and read the feed to its end. Records that you have seen will come again; compare their revisions.",
	},
	RangeNotSatisfiable: {
		slug: "range-not-satisfiable", status: http.StatusRequestedRangeNotSatisfiable, title: "No such range", state: Completed, next: Done,
		meaning: "The stored response is shorter than the first byte that was asked for. The operation was executed, and its answer is there.",
		advice:  "Content-Range says how long the response is. Ask for a range within it, or for the whole.",
	},
	PreconditionFailed: {
		slug: "precondition-failed", status: http.StatusPreconditionFailed, title: "Precondition failed", state: Completed, next: Done,
		meaning: "The stored response is not the one that If-Match names. The operation was executed, and its answer is there.",
		advice:  "ETag names the one that is stored, and a stored response never changes: what you have is of something else. Ask for the whole, without If-Match.",
	},

	// For operators.
	NoRecord: {
		slug: "no-record", status: http.StatusNotFound, title: "No record", state: Unseen, next: Stop,
		meaning: "There is no record of this operation. Its request has never arrived, or the record was purged after its retention.",
		advice:  "Compare the operation id with the one in the backend's books or in the client's problem document. A record is also found by its trace or its caller.",
	},
	EvidenceMissing: {
		slug: "evidence-missing", status: http.StatusUnprocessableEntity, title: "Evidence missing", state: Rejected, next: Stop,
		meaning: "A resolution says what became of an operation on somebody's word, and it does not say on which evidence. Nothing was changed.",
		advice:  "Look the operation up in the backend by its operation id. Then send the resolution again, with the member evidence: what you looked at, and what it showed. It is kept for auditors.",
	},
	AlreadySettled: {
		slug: "already-settled", status: http.StatusConflict, title: "Already settled", state: Completed, next: Done,
		meaning: "The record is not in doubt any more: its own answer, a probe or another operator came first. State says where it stands. Nothing was changed.",
		advice:  "Read the record. If it is wrong, it is final all the same: put it right in the backend, under a new key.",
	},
	AttemptChanged: {
		slug: "attempt-changed", status: http.StatusConflict, title: "Another attempt", state: Unknown, next: Stop,
		meaning: "The resolution is about another attempt than the last one of the record: the operation has been executed again since. Nothing was changed.",
		advice:  "Look at the record and at the backend once more. Then send the resolution with the present number of the attempt.",
	},
	OwnerMayHoldAnswers: {
		slug: "owner-may-hold-answers", status: http.StatusConflict, title: "Owner may hold the answer", state: Unknown, next: Stop,
		meaning: "The gateway that executed the operation may still have the backend's answer in its spool, on its own disk. A resolution that contradicts it could not be taken back. Nothing was changed.",
		advice:  "Bring that gateway back with its disk, or wait until its spool is empty: then the record settles itself. If the disk is lost, or you know better from the backend's books, send the resolution again with acknowledge_spool set to true.",
	},
	UnsupportedMediaType: {
		slug: "unsupported-media-type", status: http.StatusUnsupportedMediaType, title: "Unsupported media type", state: Rejected, next: Stop,
		meaning: "The content of the request is not JSON. Nothing was read of it, and nothing was changed.",
		advice:  "Send JSON with the header Content-Type set to application/json. Forms are never accepted, so that no page of another site can send one.",
	},
}
