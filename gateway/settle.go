package gateway

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/gateway/upstream"
	"github.com/onceway/onceway/idempotency"
)

// settlement is what an outcome means for the record and for the first caller.
type settlement struct {
	move     move
	cause    idempotency.Cause
	response *idempotency.Response // complete: what is recorded. release: what the backend said, if it did
	live     *live                 // what the backend said; nil if it said nothing whole
	timedOut bool
}

// move is how an execution is settled.
type move uint8

const (
	doubt    move = iota // nobody knows: the zero value, so that whatever is forgotten is in doubt
	complete             // the whole answer is final
	release              // proof that nothing was executed
)

// live is a backend's whole answer as it came, before anything was stored.
type live struct {
	status int
	header http.Header // end-to-end
	once   http.Header // those of header that are not stored
	body   []byte
	spill  *upstream.Spill // instead of body, when it was too large for memory
	length int64

	from upstream.Answered // whose content it is, to be discarded; zero if it is another's
}

// settle decides what the outcome of attempt n is. It is pure, and whatever it does not know is in doubt.
func settle(o upstream.Outcome, policy *config.Idempotency, n int) settlement {
	switch o := o.(type) {
	case upstream.NotSent:
		return settlement{move: release, cause: o.Cause}
	case upstream.Unknown:
		return settlement{move: doubt, cause: o.Cause, timedOut: o.Timeout}
	case upstream.Answered:
		return settleAnswer(o, policy, n)
	}
	return settlement{move: doubt, cause: "unclassified"}
}

func settleAnswer(a upstream.Answered, policy *config.Idempotency, n int) settlement {
	fromBackend(a.Header)
	l := &live{status: a.Status, body: a.Body, spill: a.Spill, length: a.Length, from: a}
	whole := a.Body != nil || a.Spill == nil
	if a.Spill != nil {
		l.body, l.from.Body = nil, nil // an answer may be in both; then the first caller gets it from the file
	}
	_, isProof := slices.BinarySearch(policy.NotExecutedStatuses, a.Status)
	_, isDoubt := slices.BinarySearch(policy.UnknownStatuses, a.Status)
	if policy.OnUnknown == config.OnUnknownResend && n > 1 {
		// A backend that deduplicates speaks of the attempt before: that one is still at work.
		_, inProgress := slices.BinarySearch(policy.InProgressStatuses, a.Status)
		isDoubt = isDoubt || inProgress
	}
	if isProof || isDoubt {
		// Passed through unchanged, and not stored.
		delete(a.Header, "Content-Length")
		l.header = a.Header
		s := settlement{move: doubt, cause: statusCause(a.Status), live: l}
		if isProof && !isDoubt {
			s.move = release
			if whole {
				kept, _ := storable(maps.Clone(a.Header), policy.DropHeaders)
				// To those who waited. The fields of the first caller's answer alone do not get to them.
				s.response = &idempotency.Response{Status: a.Status, Header: kept, Body: a.Body, Length: a.Length, Digest: a.Digest}
			}
		}
		return s
	}
	l.header, l.once = storable(a.Header, policy.DropHeaders)
	response := &idempotency.Response{Status: a.Status, Length: a.Length, Digest: a.Digest}
	if whole {
		response.Header, response.Body, response.Replayable = l.header, a.Body, true
	}
	return settlement{move: complete, response: response, live: l}
}

func statusCause(status int) idempotency.Cause {
	return idempotency.Cause(statusPrefix + strconv.Itoa(status))
}

const statusPrefix = "status-"

// statusOf returns the status that a cause names, 0 if it is another one.
func statusOf(cause idempotency.Cause) int {
	digits, ok := strings.CutPrefix(string(cause), statusPrefix)
	if !ok {
		return 0
	}
	status, _ := strconv.Atoi(digits)
	return status
}

// observed is the settlement as telemetry counts it.
func (s *settlement) observed() telemetry.Outcome {
	switch s.move {
	case complete:
		return telemetry.Answered
	case release:
		return telemetry.NotSent
	case doubt:
		return telemetry.InDoubt
	}
	return telemetry.InDoubt
}

// status is what the backend answered, 0 if nothing whole.
func (s *settlement) status() int {
	if s.live == nil {
		return 0
	}
	return s.live.status
}
