package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/onceway/onceway/idempotency"
)

// step is where an attempt ended.
type step uint8

const (
	stepBuild    step = iota + 1 // no connection was looked for
	stepDial                     // no connection
	stepTLS                      // a connection, no handshake
	stepReady                    // a connection, and Ready refused
	stepExchange                 // the request was given to a connection, and no response head came back
	stepRead                     // a response head came back
)

// evidence is all that classify goes by. Its zero value proves nothing.
type evidence struct {
	step      step
	exclusive bool // the connection carried this request and no other: HTTP/1.1
	sealed    bool // its counter was sealed before it was read
	wrote     bool // the counter moved, or a write was under way when it was sealed
	unopened  bool // HTTP/2: no stream was created, and with a context that has not ended, none will be
	drained   bool // the request's whole content had been taken by the connection
	cause     idempotency.Cause
	err       error
	ended     error // of the attempt's context, when the evidence was taken
}

// classify is the only place that decides whether a request without an answer had no effect. There are
// few proofs; whatever is not one of them is Unknown.
func classify(e evidence) Outcome {
	switch {
	case e.step == stepBuild:
		return NotSent{CauseUnsendable, e.err}
	case e.step == stepDial && isTimeout(e.err, e.ended):
		return NotSent{CauseDialTimeout, e.err}
	case e.step == stepDial:
		return NotSent{CauseDialFailed, e.err}
	case e.step == stepTLS:
		return NotSent{CauseTLSFailed, e.err}
	case e.step == stepReady:
		return NotSent{CauseNotReady, e.err}
	case e.step == stepExchange && e.exclusive && e.sealed && !e.wrote:
		return NotSent{CauseZeroBytes, e.err}
	case e.step == stepExchange && e.unopened && e.ended == nil:
		return NotSent{CauseZeroBytes, e.err}
	default:
		return Unknown{Cause: unknownCause(e), Phase: phase(e), Timeout: timedOut(e), Err: e.err}
	}
}

func phase(e evidence) Phase {
	switch {
	case e.step == stepRead:
		return Reading
	case e.drained:
		return Waiting
	default:
		return Writing
	}
}

func timedOut(e evidence) bool { return unknownCause(e) == CauseTimeout }

// unknownCause finds a word for operators; nothing else depends on it.
func unknownCause(e evidence) idempotency.Cause {
	switch {
	case e.cause != "":
		return e.cause
	case isTimeout(e.err, e.ended):
		return CauseTimeout
	case errors.Is(e.ended, context.Canceled):
		return CauseCancelled
	case errors.Is(e.err, syscall.ECONNRESET), errors.Is(e.err, syscall.EPIPE), isStreamError(e.err):
		return CauseReset
	case errors.Is(e.err, io.EOF), errors.Is(e.err, io.ErrUnexpectedEOF):
		if e.step == stepRead {
			return CauseTruncated
		}
		return CauseEOF
	case errors.Is(e.err, net.ErrClosed), isNetError(e.err), !e.exclusive:
		return CauseLost
	default:
		return CauseMalformed // what is left on HTTP/1.1 is the parser's complaint
	}
}

func isTimeout(err, ended error) bool {
	var n net.Error
	return errors.Is(ended, context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

func isNetError(err error) bool {
	var n *net.OpError
	return errors.As(err, &n)
}

// streamError receives net/http's own HTTP/2 stream error, which lends itself to any struct with its
// fields (net/http/h2_error.go).
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "stream error" }

func isStreamError(err error) bool {
	var s streamError
	return errors.As(err, &s)
}
