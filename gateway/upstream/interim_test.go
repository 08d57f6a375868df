package upstream

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
)

// A client that does not take what a backend says before its answer keeps nobody else waiting who shares the connection;
// it is told all the same, in order, and before its answer.
func TestHintsHoldNobodyElse(t *testing.T) {
	b := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hints" {
			w.WriteHeader(http.StatusProcessing)
			w.WriteHeader(http.StatusEarlyHints)
		}
		io.WriteString(w, "ok")
	}))
	b.Config.Protocols = new(http.Protocols)
	b.Config.Protocols.SetUnencryptedHTTP2(true)
	b.Start()
	defer b.Close()
	through := newUpstream(t, Options{}, strings.Replace(b.URL, "http:", "h2c:", 1)).RoundTripper()
	get := func(path string, trace *httptrace.ClientTrace) (*http.Response, error) {
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", "http://ignored"+path, nil)
		if err != nil {
			return nil, err
		}
		return through.RoundTrip(r)
	}

	told, take := make(chan bool, 2), make(chan bool)
	var hints []int
	answered := make(chan error, 1)
	go func() {
		resp, err := get("/hints", &httptrace.ClientTrace{Got1xxResponse: func(status int, _ textproto.MIMEHeader) error {
			told <- true
			<-take
			hints = append(hints, status)
			return nil
		}})
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	<-told
	hung := time.AfterFunc(20*time.Second, func() {
		t.Error("another request waits")
		close(take)
	})
	reused := false
	resp, err := get("/other", &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }})
	if hung.Stop() {
		close(take)
	}
	if err != nil || !reused {
		t.Fatalf("on a connection that is shared %v: %v", reused, err)
	}
	resp.Body.Close()
	if err := <-answered; err != nil || !slices.Equal(hints, []int{102, 103}) {
		t.Errorf("told %v, %v", hints, err)
	}
}

// Of a flood of hints not all are kept.
func TestHintsDoNotPileUp(t *testing.T) {
	take, n := make(chan bool), 0
	i, _ := newInterim(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
		<-take
		n++
		return nil
	}}))
	for range 10 * mostHints {
		_ = i.trace.Got1xxResponse(103, nil)
	}
	close(take)
	i.finish()
	_ = i.trace.Got1xxResponse(103, nil)
	i.finish()
	if n < mostHints || n > mostHints+1 {
		t.Errorf("told %d", n)
	}
}
