package gateway_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkFreshPost is a whole protected request over sockets, but for a durable store.
func BenchmarkFreshPost(b *testing.B) {
	r := start(b, created, "")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		req, err := http.NewRequest("POST", "http://"+r.address+"/orders", strings.NewReader("{}"))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "key-"+strconv.Itoa(i))
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 201 {
			b.Fatalf("status %d", resp.StatusCode)
		}
	}
}
