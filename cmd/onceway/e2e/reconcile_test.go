package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

func found(state, next string) rig.Want { return rig.Want{Status: 200, State: state, Next: next} }

func TestReconciliation(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		for name, test := range map[string]func(*testing.T, *rig.Gateway, *ledger.Backend){
			"record": readRecord, "wait": waitForRecord, "not modified": notModified, "response": readResponse, "keys": awkwardKeys, "wrong calls": wrongCalls,
		} {
			t.Run(name, func(t *testing.T) { test(t, g, b) })
		}
	})
}

func readRecord(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	r := rig.Request{Key: newKey(), Path: "/orders/1?q=2", Body: "a", Script: ledger.Script{Status: 201, Body: ledger.Text("créé"), Header: map[string][]string{"X-Many": {"1", "2"}}}}
	g.Do(t, r).Is(t, with(executed, 201))
	a := g.Get(t, recordPath(r.Key)+"?include=body")
	a.Is(t, found("completed", "done"))
	if a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", a.Header)
	}
	rec := a.Record(t)
	resp := rec.Response
	if rec.Key != r.Key || rec.State != "completed" || rec.Next != "done" || rec.Attempts != 1 || rec.Revision < 2 || rec.Operation != only(t, b, ledger.Effect, r.Key).Operation ||
		rec.Request == nil || rec.Request.Method != "POST" || rec.Request.Target != r.Path || rec.Request.Fingerprint == "" || len(rec.TraceID) != 32 ||
		resp == nil || resp.Status != 201 || resp.Length != 6 || resp.Digest != digest("créé") || !resp.BodyAvailable || resp.Body == nil || *resp.Body != "créé" || resp.BodyEncoding != "utf-8" ||
		len(resp.Headers["X-Many"]) != 2 {
		t.Errorf("%s", a.Body)
	}
	times := rec.Times
	if times.FirstSeen == nil || times.Dispatched == nil || times.Settled == nil || times.BodyExpires == nil || times.Expires == nil ||
		times.Settled.Before(*times.FirstSeen) || times.BodyExpires.Sub(*times.Settled).Round(time.Minute) != 24*time.Hour || times.Expires.Sub(*times.Settled).Round(time.Minute) != 720*time.Hour {
		t.Errorf("%s", a.Body)
	}
	if without := g.Get(t, recordPath(r.Key)).Record(t); without.Response.Body != nil {
		t.Error("the body is shown without being asked for")
	}
	g.Get(t, recordPath(newKey())+"?wait=10").Is(t, rig.Want{Status: 404, State: "unseen", Next: "resend", Slug: "unseen"})
	if head := g.Do(t, rig.Request{Method: "HEAD", Path: recordPath(r.Key)}); head.Status != 200 || head.Body != "" {
		t.Errorf("HEAD: %d %q", head.Status, head.Body)
	}
}

func waitForRecord(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := g.Go(t, r)
	b.Await(t, r.Script.After, 1)
	now := g.Get(t, recordPath(r.Key))
	now.Is(t, found("executing", "wait"))
	g.Get(t, recordPath(r.Key)+"?wait=1").Is(t, found("executing", "wait"))
	held := g.Go(t, rig.Request{Method: "GET", Path: recordPath(r.Key) + "?wait=30"})
	changed := g.Go(t, rig.Request{Method: "GET", Path: recordPath(r.Key) + "?wait=30", Header: rig.Header("If-None-Match", now.Header.Get("ETag"))})
	b.Open(t, r.Script.After)
	(<-answer).Is(t, executed)
	for _, done := range []<-chan *rig.Answer{held, changed} {
		a := <-done
		if a == nil {
			t.Fatal("no answer")
		}
		a.Is(t, found("completed", "done"))
	}
}

func notModified(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 429, NoEffect: true}}
	g.Do(t, r).Is(t, rig.Want{Status: 429, State: "not_executed", Next: "resend"})
	first := g.Get(t, recordPath(r.Key))
	first.Is(t, found("not_executed", "resend"))
	tag := first.Header.Get("ETag")
	for _, tags := range []string{tag, `"x", ` + tag, "W/" + tag, "*"} {
		a := g.Get(t, recordPath(r.Key), "If-None-Match", tags)
		a.Is(t, rig.Want{Status: 304, State: "not_executed", Next: "resend"})
		if a.Header.Get("ETag") != tag || a.Body != "" {
			t.Errorf("%v %q", a.Header, a.Body)
		}
	}
	g.Get(t, recordPath(r.Key)+"?wait=1", "If-None-Match", tag).Is(t, rig.Want{Status: 304, State: "not_executed", Next: "resend"})
	r.Script = ledger.Script{}
	g.Do(t, r).Is(t, executed)
	a := g.Get(t, recordPath(r.Key), "If-None-Match", tag)
	a.Is(t, found("completed", "done"))
	if a.Header.Get("ETag") == tag {
		t.Error("the tag did not change with the record")
	}
}

func readResponse(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 402, Body: ledger.Text("0123456789"), Header: map[string][]string{"Content-Type": {"text/csv"}, "Set-Cookie": {"a=b"}}}}
	g.Do(t, r).Is(t, with(executed, 402))
	path := recordPath(r.Key) + "/response"
	whole := g.Get(t, path)
	whole.Is(t, found("completed", "done"))
	if whole.Body != "0123456789" || whole.Header.Get("Content-Type") != "text/csv" || whole.Header.Get("Idempotency-Response-Status") != "402" || whole.Header.Get("Set-Cookie") != "" {
		t.Errorf("%v %q", whole.Header, whole.Body)
	}
	tag := whole.Header.Get("ETag")
	if !strings.HasPrefix(tag, `"`) {
		t.Errorf("ETag %q is not strong", tag)
	}
	for _, c := range []struct {
		header []string
		status int
		body   string
	}{
		{[]string{"Range", "bytes=2-4"}, 206, "234"},
		{[]string{"Range", "bytes=-3"}, 206, "789"},
		{[]string{"Range", "bytes=2-4", "If-Range", tag}, 206, "234"},
		{[]string{"Range", "bytes=2-4", "If-Range", `"other"`}, 200, "0123456789"},
		{[]string{"If-None-Match", tag}, 304, ""},
		{[]string{"If-None-Match", `"other"`}, 200, "0123456789"},
		{[]string{"If-Match", tag, "Range", "bytes=0-0"}, 206, "0"},
		{[]string{"If-Match", "*"}, 200, "0123456789"},
		{[]string{"Range", "bytes=20-", "If-Range", `"other"`}, 200, "0123456789"},
		{[]string{"Range", "bytes=x-"}, 200, "0123456789"}, // what is no range is ignored
		{[]string{"Range", "bytes=5-2"}, 200, "0123456789"},
		{[]string{"Range", "items=0-1"}, 200, "0123456789"},
		{[]string{"Range", "bytes= 2-4 ,"}, 206, "234"},
	} {
		a := g.Get(t, path, c.header...)
		if a.Status != c.status || a.Body != c.body {
			t.Errorf("%v: %d %q, want %d %q", c.header, a.Status, a.Body, c.status, c.body)
		}
		if a.Header.Get("Idempotency-State") != "completed" || c.status == 206 && a.Header.Get("Idempotency-Response-Status") != "402" {
			t.Errorf("%v: %v", c.header, a.Header)
		}
	}
	for _, c := range []struct {
		header []string
		want   rig.Want
		length string
	}{
		{[]string{"Range", "bytes=20-"}, rig.Want{Status: 416, Slug: "range-not-satisfiable"}, "bytes */10"},
		{[]string{"Range", "bytes=20-", "If-Range", tag}, rig.Want{Status: 416, Slug: "range-not-satisfiable"}, "bytes */10"},
		{[]string{"If-Match", `"other"`}, rig.Want{Status: 412, Slug: "precondition-failed"}, ""},
		{[]string{"If-Match", "W/" + tag, "Range", "bytes=0-0"}, rig.Want{Status: 412, Slug: "precondition-failed"}, ""},
	} {
		a := g.Get(t, path, c.header...)
		c.want.State, c.want.Next, c.want.Record = "completed", "done", true
		a.Is(t, c.want)
		h := a.Header
		if h.Get("ETag") != tag || h.Get("Content-Range") != c.length || h.Get("Idempotency-Response-Status") != "" || len(h.Values("Link")) != 1 {
			t.Errorf("%v: %v", c.header, h)
		}
	}
	g.Get(t, recordPath(newKey())+"/response").Is(t, rig.Want{Status: 404, State: "unseen", Next: "resend", Slug: "unseen"})
	for state, script := range map[string]ledger.Script{"unknown": {Then: ledger.Close}, "not_executed": {Status: 429}} {
		unsettled := rig.Request{Key: newKey(), Body: "a", Script: script}
		g.Do(t, unsettled)
		next := map[string]string{"unknown": "reconcile", "not_executed": "resend"}[state]
		a := g.Get(t, recordPath(unsettled.Key)+"/response")
		a.Is(t, rig.Want{Status: 409, State: state, Next: next, Slug: "not-settled", Record: true})
		if says := map[string]string{"unknown": "may have been executed", "not_executed": "was not executed"}[state]; !strings.Contains(a.Body, says) {
			t.Errorf("%s: %s", state, a.Body)
		}
	}
	// That it was cancelled is final: nobody is to wait for an answer.
	forbidden := newKey()
	g.Do(t, cancellation(forbidden)).Is(t, cancelledNow)
	g.Get(t, recordPath(forbidden)+"/response").Is(t, isCancelled)
}

// A key in a path is encoded once and decoded once: none becomes another, and none another path.
func awkwardKeys(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	suffix := newKey()
	for _, key := range []string{"a%41", "a%2541", "aA", "a/b", "a%2Fb", "a:b", `a"b`, `a\b`, "a?b", "a#b", "a;b", "a+b", "a@b", "~a", "a//b", "../a", "a/response", "{a}", "a|b", "<a>"} {
		key += suffix
		field := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		r := rig.Request{Key: field, Body: "a", Script: ledger.Script{Body: ledger.Text(key)}}
		a := g.Do(t, r)
		a.Is(t, executed)
		link := strings.TrimSuffix(strings.TrimPrefix(a.Header.Get("Link"), "<"), `>; rel="status"`)
		if link != recordPath(key) {
			t.Errorf("%s: Link leads to %s", key, link)
		}
		rec := g.Get(t, link)
		rec.Is(t, found("completed", "done"))
		if got := rec.Record(t).Key; got != key {
			t.Errorf("the record of %s says that it is %s", key, got)
		}
		if got := g.Get(t, link+"/response").Body; got != key {
			t.Errorf("the response of %s is %s", key, got)
		}
		g.Do(t, r).Is(t, replayed)
		wantEffects(t, b, key, 1)
	}
}

func wrongCalls(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	key := newKey()
	g.Do(t, rig.Request{Key: key, Body: "a"}).Is(t, executed)
	for _, query := range []string{"wait=soon", "wait=-1", "wait=2147483648", "include=content", "include=", "include=body&include=body"} {
		g.Get(t, recordPath(key)+"?"+query).Is(t, refused(400, "request-malformed"))
	}
	for _, path := range []string{"/_reconcile/v1/requests/a%20b", "/_reconcile/v1/requests/%C3%A9", "/_reconcile/v1/requests/" + strings.Repeat("x", 256), "/_reconcile/v1/requests/%2E%2E"} {
		g.Get(t, path).Is(t, refused(400, "key-malformed"))
	}
	for _, path := range []string{"/_reconcile/v1", "/_reconcile/v1/nothing", recordPath(key) + "/nothing", "/.well-known/idempotency/nothing"} {
		g.Get(t, path).Is(t, refused(404, "no-route"))
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		a := g.Do(t, rig.Request{Method: method, Path: recordPath(key), Key: newKey()})
		a.Is(t, refused(405, "method-not-allowed"))
		if a.Header.Get("Allow") == "" {
			t.Error("no Allow")
		}
	}
	// Our own addresses are never forwarded.
	for _, e := range b.Entries(t) {
		if strings.Contains(e.Target, "_reconcile") || strings.Contains(e.Target, "well-known") {
			t.Errorf("%s %s was forwarded", e.Method, e.Target)
		}
	}
}

func TestWellKnown(t *testing.T) {
	t.Parallel()
	g := rig.Serve(t, rig.Config{Targets: []string{"http://127.0.0.1:9"}, Policy: "max_request_body: 2MiB, header: X-Key, attach_wait: 3s",
		Extra: "retention: {response: 1h, key: 2h}\nmax_wait: 20s\nreconcile: {base_path: /ask}"})
	a := g.Get(t, "/.well-known/idempotency")
	var facts struct {
		BasePath   string                      `json:"base_path"`
		KeyHeader  string                      `json:"key_header"`
		Retention  struct{ Response, Key int } `json:"retention"`
		Wait       struct{ Default, Max int }  `json:"wait"`
		Limits     map[string]int              `json:"limits"`
		ServerTime time.Time                   `json:"server_time"`
	}
	decode(t, a.Body, &facts)
	if a.Status != 200 || facts.BasePath != "/ask" || facts.KeyHeader != "X-Key" || facts.Retention.Response != 3600 || facts.Retention.Key != 7200 ||
		a.Header.Get("Idempotency-State") != "unseen" || a.Header.Get("Idempotency-Next") != "done" || a.Header.Get("Cache-Control") != "no-store" ||
		facts.Wait.Max != 20 || facts.Wait.Default != 3 || facts.Limits["request_body"] != 2<<20 || facts.ServerTime.IsZero() {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	g.Get(t, "/ask/requests/x").Is(t, rig.Want{Status: 404, State: "unseen", Next: "resend", Slug: "unseen"})
}

// What a gateway answers out of its memory is what it answers out of the store, byte for byte, and shown to nobody
// else. Whatever tells it that the content is forgotten ends that.
func TestStatusFromMemory(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g, other := pair(t, rig.Config{Targets: []string{b.URL()}, Caller: "{header: {name: X-User-Id}}", Extra: "trusted_proxies: [127.0.0.1/32]"})
	ask := func(g *rig.Gateway, who, path string) *rig.Answer {
		return g.Do(t, rig.Request{Method: "GET", Path: path, Header: as(who)})
	}
	for name, script := range map[string]ledger.Script{
		"text": {Body: ledger.Text("made")}, "empty": {Status: 204, Body: ledger.Text("")}, "bytes": {Status: 409, Body: ledger.Text("\xff\x00")},
	} {
		key := newKey()
		if a := g.Do(t, rig.Request{Key: key, Body: "a", Header: as("alice"), Script: script}); a.Header.Get("Idempotency-State") != "executed" {
			t.Fatalf("%s: %d %s", name, a.Status, a.Body)
		}
		for _, path := range []string{recordPath(key), recordPath(key) + "?include=body", recordPath(key) + "/response"} {
			remembered, stored := ask(g, "alice", path), ask(other, "alice", path)
			stored.Is(t, found("completed", "done"))
			if remembered.Bytes() != stored.Bytes() || remembered.Header.Get("Idempotency-Expires") != stored.Header.Get("Idempotency-Expires") {
				t.Errorf("%s %s\n%s\nin memory, and in the store\n%s", name, path, remembered.Bytes(), stored.Bytes())
			}
			his, nobodys := ask(g, "bob", path), ask(g, "bob", strings.Replace(path, key, newKey(), 1))
			his.Is(t, unseen)
			if his.Bytes() != nobodys.Bytes() {
				t.Errorf("%s\nof another's key, and of nobody's\n%s", his.Bytes(), nobodys.Bytes())
			}
		}
		done := acknowledgement(key)
		done.Header = as("alice")
		other.Do(t, done).Is(t, acknowledged)
		ask(other, "alice", recordPath(key)).Is(t, found("forgotten", "done"))
		// This gateway may not know for a minute. But if it has said so once, it stays with that.
		g.Until(t, "the list has it", func() bool {
			return strings.Contains(ask(g, "alice", "/_reconcile/v1/requests?state=forgotten").Body, key)
		})
		ask(g, "alice", recordPath(key)).Is(t, found("forgotten", "done"))
		ask(g, "alice", recordPath(key)+"/response").Is(t, isForgotten)
	}

	// Who names a revision that memory does not know of is answered by the store.
	key := newKey()
	g.Do(t, rig.Request{Key: key, Body: "a", Header: as("alice")}).Is(t, rig.Want{Status: 200, State: "executed", Next: "done"})
	done := acknowledgement(key)
	done.Header = as("alice")
	other.Do(t, done).Is(t, acknowledged)
	now := ask(other, "alice", recordPath(key)).Header.Get("ETag")
	again := rig.Request{Method: "GET", Path: recordPath(key), Header: as("alice")}
	again.Header.Set("If-None-Match", now)
	if a := g.Do(t, again); a.Status != 304 || a.Header.Get("ETag") != now {
		t.Errorf("asked for changes since %s: %d %s %s", now, a.Status, a.Header.Get("ETag"), a.Body)
	}
}
