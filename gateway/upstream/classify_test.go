package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestClassify(t *testing.T) {
	broken := errors.New("something unheard of")
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	late := fmt.Errorf("wrapped: %w", context.DeadlineExceeded)
	proof := evidence{step: stepExchange, exclusive: true, sealed: true, err: broken}
	with := func(change func(*evidence)) evidence {
		e := proof
		change(&e)
		return e
	}
	tests := []struct {
		name string
		e    evidence
		want Outcome // Err aside
	}{
		{"no evidence", evidence{}, Unknown{Cause: CauseLost, Phase: Writing}},
		{"a step that nobody knows", evidence{step: 99, exclusive: true, sealed: true, err: broken}, Unknown{Cause: CauseMalformed, Phase: Writing}},
		{"cannot be put on the wire", evidence{step: stepBuild, err: broken}, NotSent{Cause: CauseUnsendable}},
		{"refused", evidence{step: stepDial, err: refused}, NotSent{Cause: CauseDialFailed}},
		{"dial timed out", evidence{step: stepDial, err: late}, NotSent{Cause: CauseDialTimeout}},
		{"attempt ended while dialling", evidence{step: stepDial, err: broken, ended: context.DeadlineExceeded}, NotSent{Cause: CauseDialTimeout}},
		{"handshake", evidence{step: stepTLS, err: broken}, NotSent{Cause: CauseTLSFailed}},
		{"handshake timed out", evidence{step: stepTLS, err: late}, NotSent{Cause: CauseTLSFailed}},
		{"not ready", evidence{step: stepReady, err: broken}, NotSent{Cause: CauseNotReady}},
		{"nothing written", proof, NotSent{Cause: CauseZeroBytes}},
		{"nothing written, and late", with(func(e *evidence) { e.err, e.ended = late, late }), NotSent{Cause: CauseZeroBytes}},

		{"no stream", evidence{step: stepExchange, unopened: true, err: broken}, NotSent{Cause: CauseZeroBytes}},
		{"no stream, its content untouched or empty", evidence{step: stepExchange, unopened: true, drained: true, err: reset}, NotSent{Cause: CauseZeroBytes}},

		{"no stream yet, when the deadline passed", evidence{step: stepExchange, unopened: true, err: late, ended: late}, Unknown{Cause: CauseTimeout, Phase: Writing, Timeout: true}},
		{"no stream yet, when we gave up", evidence{step: stepExchange, unopened: true, err: context.Canceled, ended: context.Canceled}, Unknown{Cause: CauseCancelled, Phase: Writing}},
		{"no stream yet, when a broken connection and the deadline met", evidence{step: stepExchange, unopened: true, err: broken, ended: late}, Unknown{Cause: CauseTimeout, Phase: Writing, Timeout: true}},
		{"no stream, says a head of a response", evidence{step: stepRead, unopened: true, err: broken}, Unknown{Cause: CauseLost, Phase: Reading}},
		{"a stream", evidence{step: stepExchange, drained: true, err: broken}, Unknown{Cause: CauseLost, Phase: Waiting}},
		{"something written", with(func(e *evidence) { e.wrote = true }), Unknown{Cause: CauseMalformed, Phase: Writing}},
		{"not sealed", with(func(e *evidence) { e.sealed = false }), Unknown{Cause: CauseMalformed, Phase: Writing}},
		{"shared", with(func(e *evidence) { e.exclusive = false }), Unknown{Cause: CauseLost, Phase: Writing}},
		{"a head came", with(func(e *evidence) { e.step = stepRead }), Unknown{Cause: CauseMalformed, Phase: Reading}},
		{"waiting", with(func(e *evidence) { e.wrote, e.drained = true, true }), Unknown{Cause: CauseMalformed, Phase: Waiting}},
		{"deadline", evidence{step: stepExchange, drained: true, err: late}, Unknown{Cause: CauseTimeout, Phase: Waiting, Timeout: true}},
		{"deadline behind another error", evidence{step: stepExchange, drained: true, err: broken, ended: context.DeadlineExceeded}, Unknown{Cause: CauseTimeout, Phase: Waiting, Timeout: true}},
		{"kernel timeout", evidence{step: stepExchange, err: os.NewSyscallError("read", syscall.ETIMEDOUT)}, Unknown{Cause: CauseTimeout, Phase: Writing, Timeout: true}},
		{"cancelled", evidence{step: stepExchange, err: broken, ended: context.Canceled}, Unknown{Cause: CauseCancelled, Phase: Writing}},
		{"reset", evidence{step: stepExchange, err: reset}, Unknown{Cause: CauseReset, Phase: Writing}},
		{"broken pipe", evidence{step: stepExchange, err: syscall.EPIPE}, Unknown{Cause: CauseReset, Phase: Writing}},
		{"stream reset", evidence{step: stepExchange, err: streamError{}}, Unknown{Cause: CauseReset, Phase: Writing}},
		{"eof", evidence{step: stepExchange, err: io.EOF}, Unknown{Cause: CauseEOF, Phase: Writing}},
		{"eof in the content", evidence{step: stepRead, err: io.ErrUnexpectedEOF}, Unknown{Cause: CauseTruncated, Phase: Reading}},
		{"closed", evidence{step: stepExchange, exclusive: true, wrote: true, err: net.ErrClosed}, Unknown{Cause: CauseLost, Phase: Writing}},
		{"a cause of its own", evidence{step: stepRead, cause: CauseOversize, err: broken}, Unknown{Cause: CauseOversize, Phase: Reading}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := classify(tt.e)
			switch o := got.(type) {
			case NotSent:
				if o.Err != tt.e.err {
					t.Error("the error is lost")
				}
				o.Err = nil
				got = o
			case Unknown:
				if o.Err != tt.e.err {
					t.Error("the error is lost")
				}
				o.Err = nil
				got = o
			case Answered:
				t.Fatal("answered without an answer")
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", describe(got), describe(tt.want))
			}
		})
	}
}

// Whatever the evidence, NotSent needs one of the proofs.
func TestClassifyProvesNothingElse(t *testing.T) {
	errs := []error{nil, io.EOF, context.DeadlineExceeded, syscall.ECONNRESET, errDead, errSealed, errDead}
	for s := range step(10) {
		for bits := range 64 {
			for _, err := range errs {
				e := evidence{step: s, exclusive: bits&1 > 0, sealed: bits&2 > 0, wrote: bits&4 > 0, drained: bits&8 > 0, unopened: bits&16 > 0, err: err}
				if bits&32 > 0 {
					e.ended = context.DeadlineExceeded
				}
				_, notSent := classify(e).(NotSent)
				early := s >= stepBuild && s <= stepReady
				zero := s == stepExchange && e.exclusive && e.sealed && !e.wrote
				streamless := s == stepExchange && e.unopened && e.ended == nil
				if notSent != (early || zero || streamless) {
					t.Errorf("%+v: %s", e, describe(classify(e)))
				}
			}
		}
	}
}
