package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// Limits of one question. They are not the upstream's: a probe is small, and another comes.
const (
	timeout        = 5 * time.Second
	connectTimeout = 2 * time.Second
	maxHeader      = 64 << 10 // bytes
)

// newTransport returns connections for probes alone. GET is safe to repeat, so net/http's pool will do.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxConnsPerHost:        slots,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
}

var errNoWholeAnswer = errors.New("no whole answer")

// ask sends one question, as one plain GET whose redirects are answers, and reads the answer. An error
// means that there was none.
func ask(ctx context.Context, transport http.RoundTripper, r *Route, q Question, inject func(http.Header)) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	url := strings.ReplaceAll(r.Policy.URL, "{operation}", q.Operation.String())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Answer{}, err
	}
	for name, value := range r.Policy.Headers {
		req.Header[name] = []string{value}
	}
	if _, ok := req.Header["Accept"]; !ok {
		req.Header["Accept"] = []string{idempotency.EnvelopeMediaType + ", */*;q=0.5"}
	}
	req.Header[problem.HeaderOperation] = []string{q.Operation.String()}
	req.Header[problem.HeaderAttempt] = []string{strconv.Itoa(q.Attempt)}
	inject(req.Header)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, r.MaxAnswer+1))
	if err != nil {
		return Answer{}, errors.Join(errNoWholeAnswer, err)
	}
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Body: body, Whole: int64(len(body)) <= r.MaxAnswer}
	http2 := resp.TLS != nil && resp.TLS.NegotiatedProtocol == "h2" // what a status line says is only a claim
	if !http2 && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 {
		a.Whole = false // it ends with its connection, which proves no end
	}
	return a, nil
}
