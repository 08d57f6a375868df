package probe

import (
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/idempotency"
)

// HeaderFenced is the response field by which a backend confirms, with the value true, that it will
// refuse the attempt asked about, and those before it, from now on.
const HeaderFenced = "Onceway-Fenced"

// Question is about one attempt in doubt.
type Question struct {
	Operation idempotency.OperationID
	Attempt   int
	// Age is how long the attempt had been in doubt when the probe was sent, by the store's clock.
	Age time.Duration
}

// Answer is what a backend said: a final status, its fields, and its content as far as it is whole.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Whole  bool // Body is all of the content, and its end is proven
}

// Finding is what an answer proves. It is a closed set.
type Finding uint8

const (
	Nothing      Finding = iota // not even that the question was understood
	Executed                    // the operation was executed
	Absent                      // it was not found, which proves nothing under the policy
	NotExecuted                 // the attempt had no effect, and will have none
	findingCount = iota
)

var findingNames = [findingCount]string{"nothing", "executed", "absent", "not_executed"}

func (f Finding) String() string { return findingNames[f] }

// Proof is a finding and what goes with it.
type Proof struct {
	Finding Finding
	// Response is the answer of the operation itself, as the backend sent it; nil if there is none.
	Response *idempotency.Response
	// Evidence says why, for people. It has no part of a body in it.
	Evidence string
}

// Prove decides what an answer proves under a route's policy. Whatever contradicts itself proves nothing.
func Prove(a Answer, q Question, p *config.Probe) Proof {
	var envelope *idempotency.Envelope
	if isEnvelope(a.Header) && a.Whole {
		e, err := idempotency.DecodeEnvelope(a.Body)
		switch {
		case err != nil:
			return Proof{Evidence: said(a, "an envelope that cannot be read: "+err.Error())}
		case e.Operation != q.Operation:
			return Proof{Evidence: said(a, "an envelope of another operation")}
		}
		envelope = &e
	}
	switch {
	case slices.Contains(p.Executed, a.Status):
		return proveExecuted(a, p, envelope)
	case slices.Contains(p.Absent, a.Status):
		return proveAbsent(a, q, p, envelope)
	}
	return Proof{Evidence: said(a, "which is neither in executed nor in absent")}
}

func proveExecuted(a Answer, p *config.Probe, envelope *idempotency.Envelope) Proof {
	switch {
	case envelope != nil && envelope.State != idempotency.EnvelopeExecuted:
		return Proof{Evidence: said(a, "an envelope that says "+string(envelope.State))}
	case fenced(a.Header):
		return Proof{Evidence: said(a, HeaderFenced+": true, which is for operations that were not executed")}
	case envelope != nil:
		return Proof{Executed, envelope.Response, said(a, "an envelope: attempt "+strconv.Itoa(envelope.Attempt)+" was executed")}
	case isEnvelope(a.Header):
		return Proof{Finding: Executed, Evidence: said(a, "an envelope that is not whole, or too long")}
	case p.Replay && a.Whole:
		return Proof{Executed, idempotency.NewResponse(a.Status, a.Header, a.Body), said(a, "the answer to replay")}
	}
	return Proof{Finding: Executed, Evidence: said(a, "executed")}
}

func proveAbsent(a Answer, q Question, p *config.Probe, envelope *idempotency.Envelope) Proof {
	if envelope != nil && envelope.State != idempotency.EnvelopeAbsent {
		return Proof{Evidence: said(a, "an envelope that says "+string(envelope.State))}
	}
	after := fmt.Sprintf("%d s after the doubt", int(q.Age/time.Second))
	absent := Proof{Finding: Absent, Evidence: said(a, "not found "+after+", which proves nothing (absence: "+p.Absence.String()+")")}
	switch p.Absence {
	case config.AbsenceIgnore:
		return absent
	case config.AbsenceFenced:
		if !fenced(a.Header) || envelope != nil && !envelope.Refuses(q.Attempt) || isEnvelope(a.Header) && envelope == nil {
			return absent
		}
		return Proof{Finding: NotExecuted, Evidence: said(a, "and refuses attempt "+strconv.Itoa(q.Attempt)+" from now on")}
	case config.AbsenceSettle:
		if q.Age < p.Settle {
			return absent
		}
		return Proof{Finding: NotExecuted, Evidence: said(a, "not found "+after+", which the route believes (absence: settle, "+p.Settle.String()+")")}
	}
	return absent
}

// said begins with what the backend said.
func said(a Answer, what string) string {
	return "the probe answered " + strconv.Itoa(a.Status) + ": " + what
}

func isEnvelope(h http.Header) bool {
	essence, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && essence == idempotency.EnvelopeMediaType
}

func fenced(h http.Header) bool {
	values := h[HeaderFenced]
	return len(values) == 1 && values[0] == "true"
}
