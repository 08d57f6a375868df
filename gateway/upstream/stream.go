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
	req, content, err := t.prepare(ctx, r)
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
		return t.streamFailed(ctx, client, content, evidence{step: stepExchange, err: err})
	}
	a, cause, err := receive(resp, r, t.up.o.SpillDir)
	if cause != "" || err != nil {
		out := t.streamFailed(ctx, client, content, evidence{step: stepRead, cause: cause, err: err})
		resp.Body.Close()
		return out
	}
	return a
}

// streamFailed looks at the evidence. There is no counter to seal: bytes of other requests pass, too.
func (t *target) streamFailed(ctx context.Context, client *http.ClientConn, content *body, e evidence) Outcome {
	e.ended, e.wrote, e.drained = ctx.Err(), true, content.drained.Load()
	out := classify(e)
	if u, ok := out.(Unknown); ok && u.Timeout {
		t.retire(client) // whether the stream or the connection is stuck cannot be seen from here
	}
	return out
}
