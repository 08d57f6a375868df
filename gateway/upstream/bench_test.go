package upstream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// Compare with: go test -run '^$' -bench . -benchmem -cpu 1,2
func benchmark(b *testing.B, h2c bool, do func(u *Upstream, target string)) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(answerBody)
	}))
	scheme := "http"
	if h2c {
		scheme = "h2c"
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
	}
	s.Start()
	defer s.Close()
	u := newUpstream(b, Options{}, scheme+"://"+s.Listener.Addr().String())
	defer u.Close()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			do(u, s.URL)
		}
	})
}

var (
	requestBody = bytes.Repeat([]byte("q"), 512)
	answerBody  = bytes.Repeat([]byte("a"), 512)
)

func sendOnce(u *Upstream, _ string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	release, _ := u.Acquire()
	defer release()
	r := &Request{
		Method: "POST", Target: "/orders", Host: "shop.example", Body: requestBody, MaxBody: 1 << 20, MaxSpill: 1 << 20,
		Fields: []Field{{"Content-Type", "application/json"}, {"Idempotency-Key", "k"}},
	}
	if _, ok := u.Send(ctx, r).(Answered); !ok {
		panic("not answered")
	}
}

func pooled(u *Upstream, target string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", target+"/orders", bytes.NewReader(requestBody))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "k")
	resp, err := u.targets[0].pass.RoundTrip(r)
	if err != nil {
		panic(err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		panic(err)
	}
	resp.Body.Close()
}

func BenchmarkSendHTTP1(b *testing.B)   { benchmark(b, false, sendOnce) }
func BenchmarkPooledHTTP1(b *testing.B) { benchmark(b, false, pooled) }
func BenchmarkSendH2C(b *testing.B)     { benchmark(b, true, sendOnce) }
func BenchmarkPooledH2C(b *testing.B)   { benchmark(b, true, pooled) }
