package ledger

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func post(t *testing.T, c *http.Client, url, key string, s Script) (*http.Response, error) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, io.NopCloser(strings.NewReader("x")))
	req.Header.Set("X-Key", key)
	req.Header["Idempotency-Key"] = []string{key}
	req.Header.Set(Field, s.String())
	resp, err := c.Do(req)
	if err == nil {
		t.Cleanup(func() { resp.Body.Close() })
	}
	return resp, err
}

// What is answered has been executed, over every protocol; what is cut off has been executed as well.
func TestEffectsAreWrittenBeforeTheAnswer(t *testing.T) {
	b := Start(t)
	pem, err := os.ReadFile(b.CA())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	for name, c := range map[string]struct {
		transport *http.Transport
		url       string
		proto     string
	}{
		"h1":  {&http.Transport{}, b.URL(), "HTTP/1.1"},
		"h2c": {&http.Transport{Protocols: &h2c}, b.URL(), "HTTP/2.0"},
		"tls": {&http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}, b.TLS(), "HTTP/2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Transport: c.transport}
			defer c.transport.CloseIdleConnections()
			resp, err := post(t, client, c.url, name+"-whole", Script{Status: 201})
			if err != nil || resp.StatusCode != 201 || resp.Proto != c.proto {
				t.Fatalf("%v %v", resp, err)
			}
			for _, fate := range []Fate{Close, Reset, ResetStream} {
				key := name + "-" + string(fate)
				if resp, err := post(t, client, c.url, key, Script{Then: fate}); err == nil {
					t.Fatalf("%s: answered %v", fate, resp.Status)
				}
				if n := b.Effects(t, key); n < 1 {
					t.Errorf("%s: %d effects", fate, n)
				}
			}
			if n := b.Effects(t, name+"-whole"); n != 1 {
				t.Errorf("%d effects", n)
			}
		})
	}
}

func TestGatesHoldAndTell(t *testing.T) {
	b := Start(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		post(t, http.DefaultClient, b.URL(), "held", Script{Before: "a", After: "b"})
	}()
	b.Await(t, "a", 1)
	if b.Effects(t, "held") != 0 || len(b.Of(t, Begin, "held")) != 1 {
		t.Fatal("executed before the first gate")
	}
	b.Open(t, "a")
	b.Await(t, "b", 1)
	if b.Effects(t, "held") != 1 {
		t.Fatal("not executed before the second gate")
	}
	b.Open(t, "b")
	<-done
}

func TestRawAnswersAreWrittenByteForByte(t *testing.T) {
	b := Start(t)
	c, err := net.Dial("tcp", b.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw := "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal"
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\n%s: %s\r\nContent-Length: 0\r\n\r\n", Field, Script{Raw: raw})
	got, err := io.ReadAll(bufio.NewReader(c))
	if err != nil || string(got) != raw {
		t.Fatalf("%q %v", got, err)
	}
}

func TestLatePortsRefuseUntilTheyListen(t *testing.T) {
	b := Start(t)
	address, listen := b.Late(t)
	if _, err := net.Dial("tcp", address); err == nil {
		t.Fatal("accepted")
	}
	listen()
	if _, err := post(t, http.DefaultClient, "http://"+address, "late", Script{}); err != nil || b.Effects(t, "late") != 1 {
		t.Fatal(err)
	}
}

// What a probe has called absent is refused from then on, and what was executed is told.
func TestProbesTellAndFence(t *testing.T) {
	b := Start(t)
	send := func(operation, attempt string) int {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, b.URL(), nil)
		req.Header.Set("Onceway-Operation", operation)
		req.Header.Set("Onceway-Attempt", attempt)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	ask := func(kind, operation string) (int, bool) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(b.Probe(kind), "{operation}", operation, 1), nil)
		req.Header.Set("Onceway-Attempt", "2")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("Onceway-Fenced") == "true"
	}
	for _, kind := range []string{"plain", "blind"} {
		if status, fenced := ask(kind, "x"); status != 404 || fenced {
			t.Errorf("%s: %d, fenced %v", kind, status, fenced)
		}
	}
	if status, fenced := ask("envelope", "x"); status != 404 || !fenced {
		t.Errorf("%d, fenced %v", status, fenced)
	}
	if a, b, c := send("x", "2"), send("x", "3"), send("y", "1"); a != 409 || b != 200 || c != 200 {
		t.Error(a, b, c)
	}
	for kind, want := range map[string]int{"plain": 200, "envelope": 200, "blind": 404, "broken": 503} {
		if status, fenced := ask(kind, "x"); status != want || fenced {
			t.Errorf("%s: %d, fenced %v", kind, status, fenced)
		}
	}
	if len(b.Of(t, Fenced, "")) != 1 || len(b.Of(t, Probe, "")) != 7 || len(b.Of(t, Effect, "")) != 2 {
		t.Error("lines are missing")
	}
}
