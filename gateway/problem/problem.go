package problem

import (
	"net/http"
	"strconv"
)

// Problem is one answer. Make it with the constructor of its situation. Zero fields take the value
// of the table, or stay away from the wire.
type Problem struct {
	Slug   Slug
	Status int // 0 = as the table says
	State  State
	Next   Next
	Detail string // for humans: names the limit or the header, never a key or a body

	// Of the record, where there is one.
	Operation string // UUID
	StatusURL string // reconciliation URL, absolute or a path
	TraceID   string // 32 hexadecimal digits

	// Extensions are further members. They cannot replace a member of the protocol.
	Extensions map[string]any
}

// About adds the record that the problem is about.
func (p Problem) About(operation, statusURL, traceID string) Problem {
	p.Operation, p.StatusURL, p.TraceID = operation, statusURL, traceID
	return p
}

// resolved fills what the table knows.
func (p Problem) resolved() Problem {
	row := p.Slug.row()
	if p.Status == 0 {
		p.Status = row.status
	}
	if p.State == 0 {
		p.State = row.state
	}
	if p.Next == 0 {
		p.Next = row.next
	}
	if p.Detail == "" {
		p.Detail = row.meaning
	}
	return p
}

// Refusals: no attempt was made, and this request cannot succeed as it is.

func NewKeyMissing(header string) Problem {
	return Problem{Slug: KeyMissing, Detail: "This route needs exactly one " + header + " header field."}
}

// NewKeyMalformed takes the reason of an [idempotency.KeyError], which never contains the value.
func NewKeyMalformed(header, reason string) Problem {
	return Problem{Slug: KeyMalformed, Detail: "The value of " + header + " is not a key: " + reason + "."}
}

func NewPathAmbiguous(detail string) Problem { return Problem{Slug: PathAmbiguous, Detail: detail} }
func NewRequestMalformed(detail string) Problem {
	return Problem{Slug: RequestMalformed, Detail: detail}
}
func NewUnauthenticated(detail string) Problem { return Problem{Slug: Unauthenticated, Detail: detail} }
func NewForbidden(detail string) Problem       { return Problem{Slug: Forbidden, Detail: detail} }
func NewNoRoute() Problem                      { return Problem{Slug: NoRoute} }
func NewMethodNotAllowed(detail string) Problem {
	return Problem{Slug: MethodNotAllowed, Detail: detail}
}
func NewRequestTooLarge(detail string) Problem { return Problem{Slug: RequestTooLarge, Detail: detail} }
func NewKeyReused() Problem                    { return Problem{Slug: KeyReused} }
func NewKeyTooOld(detail string) Problem       { return Problem{Slug: KeyTooOld, Detail: detail} }
func NewDeadlinePassed(detail string) Problem  { return Problem{Slug: DeadlinePassed, Detail: detail} }
func NewRateLimited(detail string) Problem     { return Problem{Slug: RateLimited, Detail: detail} }
func NewOverloaded(detail string) Problem      { return Problem{Slug: Overloaded, Detail: detail} }
func NewStoreUnavailable() Problem             { return Problem{Slug: StoreUnavailable} }

// Outcomes of attempts.

func NewInProgress() Problem { return Problem{Slug: InProgress} }
func NewBackendUnreachable(detail string) Problem {
	return Problem{Slug: BackendUnreachable, Detail: detail}
}

// NewWithoutEffect is for whoever waited for an attempt that had no effect although it may have reached the
// backend. status is what the backend said, and the status of this problem, too, if a problem can have it
// (see [CanCarry]); 0 if the backend said nothing, or if that is not known.
func NewWithoutEffect(status int) Problem {
	p := NewNotSettled(NotExecuted, Resend)
	p.Detail = "The attempt that this request waited for had no effect, which is proven."
	if status != 0 {
		p.Detail = "The backend answered " + strconv.Itoa(status) + ", which on this route means that it executed nothing. That answer is not kept, so this is said in its place."
	}
	p.Detail += " Send the same request with the same key again."
	if CanCarry(status) {
		p.Status = status
	}
	return p
}

// CanCarry reports whether a backend's status can be that of a problem: whether it is one of an error.
func CanCarry(status int) bool { return status >= 400 && status <= 599 }

// NewOutcomeUnknown is for the first caller, whose attempt has no answer: 504 if it ran out of time,
// otherwise 502.
func NewOutcomeUnknown(timedOut bool, detail string) Problem {
	status := http.StatusBadGateway
	if timedOut {
		status = http.StatusGatewayTimeout
	}
	return Problem{Slug: OutcomeUnknown, Status: status, Detail: detail}
}

// NewStillUnknown is for a duplicate of an operation in doubt. It executes nothing.
func NewStillUnknown() Problem { return Problem{Slug: OutcomeUnknown} }

func NewCancelled() Problem { return Problem{Slug: OperationCancelled} }

// NewResponseForgotten says what is still known of the answer, as the member response: status 0,
// length -1 and digest "" are unknown. The digest is in RFC 9530 form.
func NewResponseForgotten(status int, length int64, digest string) Problem {
	known := map[string]any{}
	if status != 0 {
		known["status"] = status
	}
	if length >= 0 {
		known["length"] = length
	}
	if digest != "" {
		known["digest"] = digest
	}
	p := Problem{Slug: ResponseForgotten}
	if len(known) > 0 {
		p.Extensions = map[string]any{"response": known}
	}
	return p
}

// Faults of our own.

func NewRecordDamaged() Problem { return Problem{Slug: RecordDamaged} }

// NewInternal is for faults of our own; state is the record's as far as it is known, 0 if no attempt
// was made.
func NewInternal(state State) Problem { return Problem{Slug: Internal, State: state} }

// Reconciliation.

func NewUnseen() Problem { return Problem{Slug: OperationUnseen} }

// NewNotSettled says that a record has no answer yet, and what to do in its state: executing, unknown or not_executed.
func NewNotSettled(state State, next Next) Problem {
	return Problem{Slug: NotSettled, State: state, Next: next, Detail: unanswered[state]}
}

// unanswered says why there is no answer in a state.
var unanswered = map[State]string{
	Executing:   "An attempt of the operation is running. There is no answer yet.",
	Unknown:     "The operation may have been executed, and no whole answer came back. There is no answer until that is resolved.",
	NotExecuted: "The last attempt was not executed, which is proven, so there is no answer of it. There will be one of an attempt that is.",
}

// NewTooLate says that a record in this state cannot be cancelled any more.
func NewTooLate(state State, next Next) Problem {
	return Problem{Slug: TooLate, State: state, Next: next}
}

// NewRangeNotSatisfiable and NewPreconditionFailed are about a part of a stored response.
func NewRangeNotSatisfiable() Problem { return Problem{Slug: RangeNotSatisfiable} }
func NewPreconditionFailed() Problem  { return Problem{Slug: PreconditionFailed} }

func NewTooManyKeys(detail string) Problem { return Problem{Slug: TooManyKeys, Detail: detail} }
func NewCursorExpired() Problem            { return Problem{Slug: CursorExpired} }
