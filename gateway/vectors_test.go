package gateway_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// notMade are answers of the vectors that this gateway cannot give yet: their problems are in the table, and
// what gives them is not built.
var notMade = map[string]bool{"forbidden": true}

// scripted is a backend that does what the field X-Do says.
type scripted struct {
	mu    sync.Mutex
	gates map[string]*[2]chan struct{} // arrived, released
}

func (s *scripted) gate(name string) *[2]chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gates == nil {
		s.gates = map[string]*[2]chan struct{}{}
	}
	if s.gates[name] == nil {
		s.gates[name] = &[2]chan struct{}{make(chan struct{}), make(chan struct{})}
	}
	return s.gates[name]
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then net/http notices that the gateway has gone
	do := r.Header.Get("X-Do")
	switch status, err := strconv.Atoi(do); {
	case err == nil:
		if status == 307 {
			w.Header().Set("Location", "/orders/1")
		} else if status == 429 {
			w.Header().Set("Retry-After", "7")
		} else if status == 503 {
			w.Header().Set("Retry-After", "77")
		}
		w.WriteHeader(status)
	case do == "close":
		panic(http.ErrAbortHandler)
	case do == "hang":
		<-r.Context().Done()
	case do == "hold":
		g := s.gate(r.Header.Get("Idempotency-Key"))
		close(g[0])
		<-g[1]
		w.WriteHeader(201)
	default:
		w.WriteHeader(201)
	}
}

// answering makes the answers of the vectors, each with a key that nobody has used.
type answering struct {
	*testing.T
	*rig
	backend *scripted
	key     string
}

// post sends a protected request; do is for the backend.
func (a answering) post(path, do string, header ...string) answer {
	return a.send(a.T, "POST", path, "x", append([]string{"X-User", "anna", "Idempotency-Key", a.key, "X-Do", do}, header...)...)
}

// own calls the reconciliation API about the key.
func (a answering) own(method, call string, header ...string) answer {
	return a.send(a.T, method, "/_reconcile/v1/requests/"+a.key+call, "", append([]string{"X-User", "anna"}, header...)...)
}

// during calls next while a request of the key is at the backend, and returns what it returned.
func (a answering) during(next func() answer) answer {
	first := make(chan answer, 1)
	go func() { first <- a.post("/orders", "hold") }()
	g := a.backend.gate(a.key)
	<-g[0]
	got := next()
	close(g[1])
	<-first
	return got
}

// attached returns the answer of a request that waited for another one. Whether one does is not seen before
// its answer, so it is tried until one did.
func (a answering) attached() (second answer) {
	key := a.key
	for i := range 100 {
		a.key = key + strconv.Itoa(i)
		waits := make(chan answer, 1)
		a.during(func() answer {
			go func() { waits <- a.post("/orders", "hold", "Prefer", "wait=30") }()
			for a.InUse() != "1 slots, 2 bytes" {
				time.Sleep(time.Millisecond)
			}
			return answer{}
		})
		if second = <-waits; second.Header.Get("Idempotency-State") == "attached" {
			break
		}
	}
	return second
}

func (a answering) withoutStore(next func() answer) answer {
	a.store.down.Store(true)
	defer a.store.down.Store(false)
	return next()
}

// damage breaks the record of the key, which is executed for that.
func (a answering) damage() {
	a.store.Damage(idempotency.Operation{Caller: "anna", Key: idempotency.Key(a.key)}.ID())
	a.post("/orders", "")
}

// panicking breaks the clock, from the claim on if it is late.
func (a answering) panicking(late bool) answer {
	if late {
		clockBreaks := func([]idempotency.Transition) { a.broken.Store(true) }
		a.store.before.Store(&clockBreaks)
		defer a.store.before.Store(nil)
	} else {
		a.broken.Store(true)
	}
	defer a.broken.Store(false)
	return a.post("/orders", "")
}

const longAgo = "2001-01-01T00:00:00Z"

// situations give the answers of the vectors that say that they are from the gateway.
var situations = map[string]func(a answering) answer{
	"executed":          func(a answering) answer { return a.post("/orders", "") },
	"executed-redirect": func(a answering) answer { return a.post("/orders", "307") },
	"executed-refusal":  func(a answering) answer { return a.post("/orders", "422") },
	"executed-fault":    func(a answering) answer { return a.post("/orders", "500") },
	"executed-401":      func(a answering) answer { return a.post("/final", "401") },
	"replayed":          func(a answering) answer { a.post("/orders", ""); return a.post("/orders", "") },
	"attached":          answering.attached,
	"in-progress": func(a answering) answer {
		return a.during(func() answer { return a.post("/orders", "hold", "Prefer", "wait=0") })
	},
	"accepted": func(a answering) answer {
		return a.during(func() answer { return a.post("/orders", "hold", "Prefer", "respond-async") })
	},
	"backend-unreachable": func(a answering) answer { return a.post("/gone", "") },
	"backend-401":         func(a answering) answer { return a.post("/orders", "401") },
	"backend-429":         func(a answering) answer { return a.post("/orders", "429") },
	"outcome-unknown-502": func(a answering) answer { return a.post("/orders", "close") },
	"outcome-unknown-504": func(a answering) answer { return a.post("/hasty", "hang") },
	"backend-503":         func(a answering) answer { return a.post("/orders", "503") },
	"still-unknown":       func(a answering) answer { a.post("/orders", "close"); return a.post("/orders", "") },
	"cancelled":           func(a answering) answer { a.own("PUT", "/cancellation"); return a.post("/orders", "") },
	"response-forgotten": func(a answering) answer {
		a.post("/orders", "")
		a.own("PUT", "/acknowledgement")
		return a.post("/orders", "")
	},
	"key-missing":   func(a answering) answer { return a.send(a.T, "POST", "/orders", "x", "X-User", "anna") },
	"key-malformed": func(a answering) answer { a.key = "a b"; return a.post("/orders", "") },
	"path-ambiguous": func(a answering) answer {
		return a.post("/orders/../x", "")
	},
	"request-malformed": func(a answering) answer { return a.post("/orders", "", "Idempotency-Deadline", "soon") },
	"unauthenticated": func(a answering) answer {
		return a.send(a.T, "POST", "/orders", "x", "Idempotency-Key", a.key)
	},
	"no-route":          func(a answering) answer { return a.post("/nowhere", "") },
	"request-too-large": func(a answering) answer { return a.post("/none", "") },
	"key-reused": func(a answering) answer {
		a.post("/orders", "")
		return a.post("/orders?another", "")
	},
	"overloaded": func(a answering) answer {
		return a.during(func() answer { return answering.post(a.another(), "/single", "") })
	},
	"rate-limited": func(a answering) answer {
		return a.during(func() answer { return answering.post(a.another(), "/final", "") })
	},
	"store-unavailable": func(a answering) answer { return a.withoutStore(func() answer { return a.post("/orders", "") }) },
	"key-too-old":       func(a answering) answer { return a.post("/orders", "", "Idempotency-First-Sent", longAgo) },
	"deadline-passed":   func(a answering) answer { return a.post("/orders", "", "Idempotency-Deadline", longAgo) },
	"record-damaged":    func(a answering) answer { a.damage(); return a.post("/orders", "") },
	"internal":          func(a answering) answer { return a.panicking(false) },
	"internal-unknown":  func(a answering) answer { return a.panicking(true) },
	"unprotected":       func(a answering) answer { return a.send(a.T, "POST", "/optional", "x") },

	"record-completed":      func(a answering) answer { a.post("/orders", ""); return a.own("GET", "") },
	"record-executing":      func(a answering) answer { return a.during(func() answer { return a.own("GET", "") }) },
	"record-not-executed":   func(a answering) answer { a.post("/gone", ""); return a.own("GET", "") },
	"record-unknown":        func(a answering) answer { a.post("/orders", "close"); return a.own("GET", "") },
	"record-unknown-resend": func(a answering) answer { a.post("/again", "close"); return a.own("GET", "") },
	"record-cancelled":      func(a answering) answer { a.own("PUT", "/cancellation"); return a.own("GET", "") },
	"record-forgotten": func(a answering) answer {
		a.post("/orders", "")
		a.own("PUT", "/acknowledgement")
		return a.own("GET", "")
	},
	"record-not-modified": func(a answering) answer {
		return a.during(func() answer { return a.own("GET", "", "If-None-Match", a.own("GET", "").Header.Get("ETag")) })
	},
	"unseen":                func(a answering) answer { return a.own("GET", "") },
	"ask-unauthenticated":   func(a answering) answer { return a.send(a.T, "GET", "/_reconcile/v1/requests/"+a.key, "") },
	"ask-store-unavailable": func(a answering) answer { return a.withoutStore(func() answer { return a.own("GET", "") }) },
	"ask-damaged":           func(a answering) answer { a.damage(); return a.own("GET", "") },
	"ask-wrong-address":     func(a answering) answer { return a.own("GET", "/nothing") },
	"method-not-allowed":    func(a answering) answer { return a.own("POST", "") },
	"too-many-keys": func(a answering) answer {
		return a.query("application/json", `{"keys":["k"`+strings.Repeat(`,"k"`, 100)+`]}`)
	},
	"cursor-expired": func(a answering) answer {
		return a.send(a.T, "GET", "/_reconcile/v1/requests?since=nonsense", "", "X-User", "anna")
	},
	"unsupported-media-type": func(a answering) answer { return a.query("text/plain", `{"keys":["k"]}`) },

	"cancelled-unseen":        func(a answering) answer { return a.own("PUT", "/cancellation") },
	"cancelled-again":         func(a answering) answer { a.post("/gone", ""); return a.own("PUT", "/cancellation") },
	"too-late-completed":      func(a answering) answer { a.post("/orders", ""); return a.own("PUT", "/cancellation") },
	"too-late-unknown":        func(a answering) answer { a.post("/orders", "close"); return a.own("PUT", "/cancellation") },
	"too-late-unknown-resend": func(a answering) answer { a.post("/again", "close"); return a.own("PUT", "/cancellation") },
	"too-late-executing": func(a answering) answer {
		return a.during(func() answer { return a.own("PUT", "/cancellation") })
	},
	"too-late-forgotten": func(a answering) answer {
		a.post("/orders", "")
		a.own("PUT", "/acknowledgement")
		return a.own("PUT", "/cancellation")
	},
	"cancel-key-too-old": func(a answering) answer { return a.own("PUT", "/cancellation", "Idempotency-First-Sent", longAgo) },
	"cancel-store-unavailable": func(a answering) answer {
		return a.withoutStore(func() answer { return a.own("PUT", "/cancellation") })
	},

	"acknowledged": func(a answering) answer { a.post("/orders", ""); return a.own("PUT", "/acknowledgement") },
	"acknowledged-cancelled": func(a answering) answer {
		a.own("PUT", "/cancellation")
		return a.own("PUT", "/acknowledgement")
	},
	"acknowledged-not-executed": func(a answering) answer { a.post("/gone", ""); return a.own("PUT", "/acknowledgement") },
	"not-settled-executing": func(a answering) answer {
		return a.during(func() answer { return a.own("PUT", "/acknowledgement") })
	},
	"not-settled-unknown": func(a answering) answer { a.post("/orders", "close"); return a.own("PUT", "/acknowledgement") },
	"acknowledge-unseen":  func(a answering) answer { return a.own("PUT", "/acknowledgement") },
}

func (a answering) another() answering { a.key += "-another"; return a }

func (a answering) query(contentType, body string) answer {
	return a.send(a.T, "POST", "/_reconcile/v1/query", body, "X-User", "anna", "Content-Type", contentType)
}

// What clients are tested against (client/vectors) is what this gateway says, on a socket.
func TestVectorsAreWhatTheGatewaySays(t *testing.T) {
	text, err := os.ReadFile("../client/vectors/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Answers map[string]struct {
			From    string
			Status  int
			Headers map[string]any
			Code    string
		}
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	backend := &scripted{}
	r := startWith(t, backend.ServeHTTP, `
caller: {header: {name: X-User}}
trusted_proxies: [127.0.0.1]
limits: {in_flight: 1}
upstreams:
  b: {targets: ['BACKEND']}
  single: {targets: ['BACKEND'], max_in_flight: 1}
  hasty: {targets: ['BACKEND'], timeout: 100ms}
  gone: {targets: ['http://127.0.0.1:1']}
routes:
- {name: orders, match: {path: /orders/**}, upstream: single}
- {name: single, match: {path: /single}, upstream: single}
- {name: hasty, match: {path: /hasty}, upstream: hasty}
- {name: gone, match: {path: /gone}, upstream: gone}
- {name: final, match: {path: /final}, upstream: b, idempotency: {not_executed_statuses: [421]}}
- {name: again, match: {path: /again}, upstream: b, idempotency: {on_unknown: resend}}
- {name: none, match: {path: /none}, upstream: b, idempotency: {max_request_body: 0B}}
- {name: optional, match: {path: /optional}, upstream: b, idempotency: {mode: optional}}
`)
	made := map[string]bool{}
	for name, want := range vectors.Answers {
		if want.From != "gateway" {
			continue
		}
		make := situations[name]
		if (make == nil) != notMade[name] {
			t.Errorf("%s: the gateway makes it: %v; it is said not to: %v", name, make != nil, notMade[name])
		}
		if make == nil {
			continue
		}
		got := make(answering{t, r, backend, "key-" + name})
		if got.StatusCode != want.Status {
			t.Errorf("%s: status %d, want %d\n%s", name, got.StatusCode, want.Status, got.body)
		}
		for _, field := range []string{"Idempotency-State", "Idempotency-Next", "Idempotent-Replayed", "Idempotency-Resolved", "Preference-Applied", "Retry-After", "Location"} {
			values, said := got.Header.Values(field), want.Headers[field]
			switch {
			case len(values) > 1, (len(values) == 1) != (said != nil):
				t.Errorf("%s: %s is %q, want %v", name, field, values, said)
			case field == "Retry-After" || field == "Location": // jittered; of another key
			case said != nil && values[0] != said:
				t.Errorf("%s: %s is %q, want %v", name, field, values, said)
			}
		}
		if problem := got.Header.Get("Content-Type") == "application/problem+json"; problem != (want.Code != "") || problem && !strings.Contains(got.body, `"code":"`+want.Code+`"`) {
			t.Errorf("%s: want problem %q, got %s", name, want.Code, got.body)
		}
		made[name] = true
	}
	for name := range situations {
		if made[name] {
			continue
		}
		t.Errorf("no vector has the answer %q", name)
	}
}
