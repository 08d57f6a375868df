package upstream

import (
	"context"
	"net/http"
)

// stream is the exchange on an HTTP/2 connection, which other requests share. What a stream's end proves
// is less than what a connection's does: see classify.
func (t *target) stream(ctx context.Context, client *http.ClientConn, r *Request) Outcome {
	ctx, cancel := within(ctx, r.Deadline)
	defer cancel()
	req, parcel, err := t.prepare(ctx, r)
	if err != nil {
		client.Release()
		return classify(evidence{step: stepBuild, err: err})
	}
	if r.Ready != nil {
		if err := r.Ready(); err != nil {
			client.Release()
			return classify(evidence{step: stepReady, err: err})
		}
	}
	resp, err := client.RoundTrip(req)
	if err != nil {
		return t.streamFailed(ctx, client, parcel, evidence{step: stepExchange, err: err})
	}
	a, cause, err := receive(resp, r, t.up.o.SpillDir)
	if cause != "" || err != nil {
		out := t.streamFailed(ctx, client, parcel, evidence{step: stepRead, cause: cause, err: err})
		resp.Body.Close()
		return out
	}
	return a
}

// streamFailed looks at the evidence. There is no counter to seal: bytes of other requests pass, too. What there is
// instead is that net/http never began with the request's head, which is a proof if it cannot do so any more. As read in
// net/http of Go 1.26 (clientconn.go, h2_bundle.go, internal/httpcommon):
//
//   - Only the goroutine of clientStream.doRequest writes of a request. ClientConn.RoundTrip fails before it starts
//     that one (validateClientConnRequest); or because the stream was aborted, and then waits for its end (waitDone,
//     donec); or because the request's context has ended, and only then does it leave it behind, and the head may
//     go out later. (Request.Cancel, which would be another such case, is never set.) So the context is looked at after
//     RoundTrip has returned and before the mark: if it lives, the goroutine is over.
//   - That goroutine creates the stream in one place, encodeAndWriteHeaders: under the lock of the connection's writer it
//     encodes the fields, with a call of WroteHeaderField for each one, :authority always among them, and
//     then gives the frame to the writer. What ends it earlier (a connection that is closed or was sent GOAWAY, a
//     stream aborted while it waited for a slot or that lock, fields that are refused) has left nothing in any buffer.
//   - Nothing else makes the peer create it: DATA comes after the head, RST_STREAM goes out only for a head that did
//     (sentHeaders), and there are no trailers.
//
// A head that was begun and met a connection whose writes had failed already leaves a mark without a stream: doubt.
func (t *target) streamFailed(ctx context.Context, client *http.ClientConn, p *parcel, e evidence) Outcome {
	e.ended = ctx.Err()
	e.unopened, e.drained = !p.begun.Load(), p.body.drained.Load()
	out := classify(e)
	if u, ok := out.(Unknown); ok && u.Timeout {
		t.retire(client) // whether the stream or the connection is stuck cannot be seen from here
	}
	return out
}
