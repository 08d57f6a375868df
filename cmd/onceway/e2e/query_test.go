package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// query asks for many keys at once.
func query(content string) rig.Request {
	return rig.Request{Method: http.MethodPost, Path: "/_reconcile/v1/query", Header: rig.Header("Content-Type", "application/json"), Body: content}
}

// queryOf is the query for keys, with further members.
func queryOf(keys []string, more string) rig.Request {
	names, _ := json.Marshal(keys)
	return query(`{"keys":` + string(names) + more + `}`)
}

type records struct {
	Records    []rig.Record
	Unseen     []string
	ObservedAt time.Time `json:"observed_at"`
}

// summary checks the headers of an answer about several records, and returns it.
func summary(t *testing.T, a *rig.Answer, state, next string) (r records) {
	t.Helper()
	retry := slices.Contains([]string{"wait", "resend", "reconcile"}, next)
	if a.Status != 200 || a.Header.Get("Idempotency-State") != state || a.Header.Get("Idempotency-Next") != next ||
		(a.Header.Get("Retry-After") != "") != retry || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("want %s, %s: %d %v\n%s", state, next, a.Status, a.Header, a.Body)
	}
	decode(t, a.Body, &r)
	return r
}

func TestQuery(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		for name, test := range map[string]func(*testing.T, *rig.Gateway, *ledger.Backend){
			"states": queryStates, "wait": queryWaits, "bodies": queryBodies, "wrong": wrongQueries, "many": queryMany,
		} {
			t.Run(name, func(t *testing.T) { test(t, g, b) })
		}
	})
}

func queryStates(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	made := rig.Request{Key: newKey(), Body: "a"}
	g.Do(t, made).Is(t, executed)
	gone := rig.Request{Key: newKey(), Body: "a"}
	g.Do(t, gone).Is(t, executed)
	g.Do(t, acknowledgement(gone.Key)).Is(t, acknowledged)
	forbidden, never, neither := newKey(), newKey(), `"odd/%41\`+newKey()
	g.Do(t, cancellation(forbidden)).Is(t, cancelledNow)
	failed := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 429, NoEffect: true}}
	g.Do(t, failed)
	lost := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Close}}
	g.Do(t, lost).Is(t, doubted)
	running := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := g.Go(t, running)
	b.Await(t, running.Script.After, 1)

	keys := []string{made.Key, never, gone.Key, forbidden, made.Key, neither, failed.Key, lost.Key, running.Key, never}
	got := summary(t, g.Do(t, queryOf(keys, "")), "executing", "wait")
	var states []string
	for _, r := range got.Records {
		states = append(states, r.State+" "+r.Next)
		if single := g.Get(t, recordPath(r.Key)).Record(t); single.Revision != r.Revision || single.Operation != r.Operation || single.State != r.State {
			t.Errorf("alone %+v, among others %+v", single, r)
		}
	}
	if want := []string{"completed done", "forgotten done", "cancelled stop", "not_executed resend", "unknown reconcile", "executing wait"}; !slices.Equal(states, want) {
		t.Errorf("records are %v, want %v", states, want)
	}
	if !slices.Equal(got.Unseen, []string{never, neither}) || got.ObservedAt.IsZero() {
		t.Errorf("unseen %v at %v", got.Unseen, got.ObservedAt)
	}
	b.Open(t, running.Script.After)
	(<-answer).Is(t, executed)
	for _, c := range []struct{ key, state, next string }{
		{lost.Key, "unknown", "reconcile"}, {failed.Key, "not_executed", "resend"}, {never, "unseen", "resend"},
		{forbidden, "cancelled", "stop"}, {gone.Key, "forgotten", "done"}, {made.Key, "completed", "done"},
	} {
		i := slices.Index([]string{lost.Key, failed.Key, never, forbidden, gone.Key, made.Key}, c.key)
		summary(t, g.Do(t, queryOf([]string{lost.Key, failed.Key, never, forbidden, gone.Key, made.Key}[i:], "")), c.state, c.next)
	}
}

func queryWaits(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	gate := newKey()
	var keys []string
	var answers []<-chan *rig.Answer
	for range 3 {
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: gate}}
		keys, answers = append(keys, r.Key), append(answers, g.Go(t, r))
	}
	b.Await(t, gate, 3)
	keys = append(keys, newKey()) // one that is unseen holds nobody
	summary(t, g.Do(t, queryOf(keys, `,"wait":1`)), "executing", "wait")
	held := g.Go(t, queryOf(keys, `,"wait":30`))
	b.Open(t, gate)
	for _, a := range answers {
		(<-a).Is(t, executed)
	}
	a := <-held
	if a == nil {
		t.Fatal("no answer")
	}
	if got := summary(t, a, "unseen", "resend"); len(got.Records) != 3 || len(got.Unseen) != 1 {
		t.Errorf("%s", a.Body)
	}
}

func queryBodies(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Body: ledger.Text("créé")}}
	g.Do(t, r).Is(t, executed)
	for more, want := range map[string]bool{"": false, `,"include":[]`: false, `,"include":["body"]`: true} {
		got := summary(t, g.Do(t, queryOf([]string{r.Key}, more)), "completed", "done").Records[0].Response
		if (got.Body != nil) != want || want && *got.Body != "créé" || got.Digest != digest("créé") {
			t.Errorf("%q: %+v", more, got)
		}
	}
}

func queryMany(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	var keys []string
	for i := range 100 {
		keys = append(keys, fmt.Sprint(newKey(), strings.Repeat(`"`, 200), i%10)) // escaped, and long
	}
	if got := summary(t, g.Do(t, queryOf(keys, "")), "unseen", "resend"); !slices.Equal(got.Unseen, keys) {
		t.Errorf("%d unseen", len(got.Unseen))
	}
	g.Do(t, queryOf(append(keys, newKey()), "")).Is(t, refused(400, "too-many-keys"))
}

func wrongQueries(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	for content, slug := range map[string]string{
		``: "request-malformed", `null`: "request-malformed", `[]`: "request-malformed", `{}`: "request-malformed", `{"keys":["a"]`: "request-malformed",
		`{"keys":["a"]} {}`: "request-malformed", `{"keys":["a"],}`: "request-malformed", `{"Keys":["a"]}`: "request-malformed",
		`{"keys":["a"],"keys":["b"]}`: "request-malformed", `{"keys":["a"],"more":1}`: "request-malformed", `{"keys":"a"}`: "request-malformed",
		`{"keys":[]}`: "request-malformed", `{"keys":null}`: "request-malformed", `{"keys":[null]}`: "request-malformed", `{"keys":[1]}`: "request-malformed",
		`{"keys":["a"],"wait":-1}`: "request-malformed", `{"keys":["a"],"wait":"1"}`: "request-malformed", `{"keys":["a"],"wait":1.5}`: "request-malformed",
		`{"keys":["a"],"wait":null}`: "request-malformed", `{"keys":["a"],"include":"body"}`: "request-malformed", `{"keys":["a"],"include":["head"]}`: "request-malformed",
		`{"keys":["a"],"include":null}`: "request-malformed", "{\"keys\":[\"\xff\"]}": "request-malformed",
		`{"keys":[""]}`: "key-malformed", `{"keys":["a b"]}`: "key-malformed", `{"keys":["é"]}`: "key-malformed", `{"keys":[".."]}`: "key-malformed",
		`{"keys":["` + strings.Repeat("x", 256) + `"]}`: "key-malformed",
	} {
		if g.Do(t, query(content)).Is(t, refused(400, slug)); t.Failed() {
			t.Fatal(content)
		}
	}
	g.Do(t, query(`{"keys":["`+strings.Repeat("x", 200<<10)+`"]}`)).Is(t, refused(413, "request-too-large"))
	plain := query(`{"keys":["a"]}`)
	plain.Header = rig.Header("Content-Type", "text/plain")
	g.Do(t, plain).Is(t, refused(415, "unsupported-media-type"))
	for _, method := range []string{"GET", "PUT"} {
		r := query(`{"keys":["a"]}`)
		r.Method = method
		g.Do(t, r).Is(t, refused(405, "method-not-allowed"))
	}
}

// A query shows a caller its own operations only.
func TestQueryOfOtherCallers(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Caller: "{header: {name: X-User-Id}}", Extra: "trusted_proxies: [127.0.0.1/32]"})
		key := newKey()
		g.Do(t, rig.Request{Key: key, Body: "a", Header: as("alice")}).Is(t, executed)
		g.Do(t, queryOf([]string{key}, "")).Is(t, unauthorised)
		for name, state := range map[string]string{"alice": "completed", "bob": "unseen"} {
			q := queryOf([]string{key}, "")
			q.Header.Set("X-User-Id", name)
			next := map[string]string{"completed": "done", "unseen": "resend"}[state]
			summary(t, g.Do(t, q), state, next)
		}
	})
}

// Who waits on one gateway hears of what another one has done: of an answer, of a cancellation and of an
// acknowledgement.
func TestWaitsOnAnotherGateway(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g, other := pair(t, rig.Config{Targets: []string{b.URL()}})
	held := func(key, tag string) <-chan *rig.Answer {
		return other.Go(t, rig.Request{Method: "GET", Path: recordPath(key) + "?wait=30", Header: rig.Header("If-None-Match", tag)})
	}
	wants := func(c <-chan *rig.Answer, want rig.Want) string {
		t.Helper()
		a := <-c
		if a == nil {
			t.Fatal("no answer")
		}
		a.Is(t, want)
		return a.Header.Get("ETag")
	}
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := g.Go(t, r)
	b.Await(t, r.Script.After, 1)
	now := other.Get(t, recordPath(r.Key))
	now.Is(t, found("executing", "wait"))
	many := other.Go(t, queryOf([]string{r.Key, newKey()}, `,"wait":30`))
	var waiting []<-chan *rig.Answer
	for range 20 {
		waiting = append(waiting, held(r.Key, now.Header.Get("ETag")))
	}
	other.Until(t, "all wait", func() bool { return waitingHere(t, other) == len(waiting)+1 })
	b.Open(t, r.Script.After)
	wants(answer, executed)
	var tag string
	for _, c := range waiting {
		tag = wants(c, found("completed", "done"))
	}
	if got := summary(t, <-many, "unseen", "resend"); len(got.Records) != 1 || got.Records[0].State != "completed" {
		t.Errorf("%+v", got)
	}
	last := held(r.Key, tag)
	other.Until(t, "it waits", func() bool { return waitingHere(t, other) == 1 })
	g.Do(t, acknowledgement(r.Key)).Is(t, acknowledged)
	wants(last, found("forgotten", "done"))

	failed := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 429, NoEffect: true}}
	g.Do(t, failed)
	last = held(failed.Key, other.Get(t, recordPath(failed.Key)).Header.Get("ETag"))
	other.Until(t, "it waits", func() bool { return waitingHere(t, other) == 1 })
	g.Do(t, cancellation(failed.Key)).Is(t, cancelled)
	wants(last, found("cancelled", "stop"))
}

var waitingMetric = regexp.MustCompile(`(?m)^onceway_in_flight\{[^}]*onceway_route="reconcile"[^}]*\} (\d+)`)

// waitingHere is how many calls of the reconciliation API are under way.
func waitingHere(t testing.TB, g *rig.Gateway) (sum int) {
	t.Helper()
	for _, m := range waitingMetric.FindAllStringSubmatch(g.AdminGet(t, "/metrics").Body, -1) {
		n, _ := strconv.Atoi(m[1])
		sum += n
	}
	return sum
}

// Shutting down ends waits with normal answers, those of single records and those of many.
func TestDrainEndsReconciliationWaits(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "drain_delay: 0s"})
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
		answer := g.Go(t, r)
		b.Await(t, r.Script.After, 1)
		var held []<-chan *rig.Answer
		for range 10 {
			held = append(held, g.Go(t, rig.Request{Method: "GET", Path: recordPath(r.Key) + "?wait=30"}), g.Go(t, queryOf([]string{r.Key}, `,"wait":30`)))
		}
		g.Until(t, "all wait", func() bool { return waitingHere(t, g) == len(held) })
		g.Signal(t, syscall.SIGTERM)
		for i, c := range held {
			a := <-c
			if a == nil {
				t.Fatal("no answer")
			}
			if i%2 == 0 {
				a.Is(t, found("executing", "wait"))
			} else {
				summary(t, a, "executing", "wait")
			}
		}
		b.Open(t, r.Script.After)
		(<-answer).Is(t, executed)
		if code := g.Exit(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}
