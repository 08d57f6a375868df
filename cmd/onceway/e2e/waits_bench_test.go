package e2e

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// How soon those who wait hear of a change: on the gateway that makes it, and on another one. A hundred wait for
// a hundred records on each, for some seconds already; then the records change, one after the other. The clock
// runs from the first byte of the request that changes a record to the last byte of the waiter's answer, so that the commit
// itself is in it. One round, as for docs/performance.md:
//
//	go test ./cmd/onceway/e2e -run '^$' -bench Waits -benchtime 5x
func BenchmarkWaits(b *testing.B) {
	backend := ledger.Start(b)
	g, other := pair(b, rig.Config{Targets: []string{backend.URL()}})
	const records = 100
	transport := &http.Transport{MaxIdleConnsPerHost: 2 * records}
	defer transport.CloseIdleConnections()
	took := map[*rig.Gateway][]time.Duration{}
	for range b.N {
		type change struct {
			key   string
			begun time.Time
			heard map[*rig.Gateway]time.Time
		}
		changes := make([]change, records)
		var mu sync.Mutex
		var waiters sync.WaitGroup
		for i := range changes {
			c := &changes[i]
			c.key, c.heard = newKey(), map[*rig.Gateway]time.Time{}
			g.Do(b, rig.Request{Key: c.key, Body: "a", Script: ledger.Script{Status: 429, NoEffect: true}})
			tag := g.Do(b, rig.Request{Method: http.MethodGet, Path: recordPath(c.key)}).Header.Get("ETag")
			for _, at := range []*rig.Gateway{g, other} {
				waiters.Go(func() {
					a := at.Do(b, rig.Request{Method: http.MethodGet, Path: recordPath(c.key) + "?wait=30", Header: rig.Header("If-None-Match", tag)})
					mu.Lock()
					defer mu.Unlock()
					c.heard[at] = time.Now()
					if !strings.Contains(a.Header.Get("Idempotency-State"), "cancelled") {
						b.Errorf("%d %s", a.Status, a.Body)
					}
				})
			}
		}
		for _, at := range []*rig.Gateway{g, other} {
			at.Until(b, "all wait", func() bool { return waitingHere(b, at) >= records })
		}
		time.Sleep(2 * time.Second) // until looks are as seldom as they become
		for i := range changes {
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond) // out of step with the looks
			r := cancellation(changes[i].key).HTTP(b, g.Addr)
			mu.Lock()
			changes[i].begun = time.Now()
			mu.Unlock()
			resp, err := transport.RoundTrip(r)
			if err != nil {
				b.Fatal(err)
			}
			resp.Body.Close()
		}
		waiters.Wait()
		for _, c := range changes {
			for at, heard := range c.heard {
				took[at] = append(took[at], heard.Sub(c.begun))
			}
		}
	}
	for at, name := range map[*rig.Gateway]string{g: "here", other: "elsewhere"} {
		slices.Sort(took[at])
		n := len(took[at])
		b.ReportMetric(float64(took[at][n/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(took[at][n*99/100].Microseconds())/1000, name+"-p99-ms")
		b.ReportMetric(float64(took[at][n-1].Microseconds())/1000, name+"-max-ms")
	}
	b.ReportMetric(0, "ns/op")
}
