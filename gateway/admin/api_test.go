package admin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceway/onceway/gateway"
	"github.com/onceway/onceway/gateway/admin"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
	"github.com/onceway/onceway/internal/openapitest"
	generated "github.com/onceway/onceway/openapi/admin"
)

const aliceToken, bobToken = "alice-secret", "bob-secret"

var keep = idempotency.Retention{Response: time.Hour, Key: 10 * time.Hour}

// office is the API on a model of a store. Every answer is held against the document.
type office struct {
	*testing.T
	server *httptest.Server
	api    http.Handler
	doc    *openapitest.Document
	model  *storetest.Model
	owner  idempotency.Owner
	log    *lockedBuffer
	serial int
	failure
	executed, notExecuted atomic.Int64
}

// failure makes the engine fail.
type failure struct{ find, resolve error }

type engine struct {
	*idempotency.Engine
	fail *failure
}

func (e engine) Find(ctx context.Context, id idempotency.OperationID) (idempotency.Record, error) {
	if e.fail.find != nil {
		return idempotency.Record{}, e.fail.find
	}
	return e.Engine.Find(ctx, id)
}

func (e engine) Resolve(r idempotency.Resolve) (idempotency.Result, error) {
	if e.fail.resolve != nil {
		return idempotency.Result{}, e.fail.resolve
	}
	return e.Engine.Resolve(r)
}

func (o *office) Resolved(executed bool) {
	if executed {
		o.executed.Add(1)
	} else {
		o.notExecuted.Add(1)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type noClock struct{}

func (noClock) Now() time.Duration { return 0 }

func newOffice(t *testing.T) *office {
	doc, err := openapitest.Load("../../openapi/admin.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o := &office{T: t, doc: doc, model: storetest.NewModel(time.Now, time.Minute, false), log: &lockedBuffer{}}
	committer := idempotency.NewCommitter(o.model, idempotency.CommitterOptions{})
	t.Cleanup(committer.Stop)
	lease := idempotency.NewLease(o.model, idempotency.Instance{}, time.Minute, noClock{})
	o.api = admin.API(admin.APIOptions{
		Engine: engine{idempotency.NewEngine(o.model, committer, lease, nil), &o.failure}, Store: o.model, Observer: o,
		Tokens: []admin.Token{{Name: "alice", Hash: sha256.Sum256([]byte(aliceToken))}, {Name: "bob", Hash: sha256.Sum256([]byte(bobToken))}},
		Listen: "console.test:9090", Retention: keep, MaxBody: 1000,
		Storable: func(_ string, h http.Header) http.Header { return gateway.Storable(h, []string{"X-Dropped"}) },
		Log:      slog.New(slog.NewTextHandler(o.log, nil)),
	})
	o.server = httptest.NewServer(admin.Handler(admin.Options{API: o.api, Log: slog.New(slog.DiscardHandler)}))
	t.Cleanup(o.server.Close)
	o.acquire(idempotency.Instance{ID: [16]byte{1}, Host: "one", Version: "test"})
	return o
}

func (o *office) acquire(i idempotency.Instance) {
	o.Helper()
	var err error
	if o.owner, err = o.model.Acquire(o.Context(), i, time.Hour); err != nil {
		o.Fatal(err)
	}
}

func (o *office) apply(t idempotency.Transition) idempotency.Record {
	o.Helper()
	results, err := o.model.Apply(o.Context(), []idempotency.Transition{t})
	if err != nil {
		o.Fatal(err)
	}
	return results[0].Record
}

// executing makes a record whose attempt is on its way.
func (o *office) executing() idempotency.Record {
	o.serial++
	op := idempotency.Operation{Caller: "shop", Key: idempotency.Key(fmt.Sprint("secret-key-", o.serial))}
	return o.apply(idempotency.Claim{
		Attempt: idempotency.Attempt{Operation: op.ID(), ID: idempotency.NewAttemptID(), Owner: o.owner}, Operation: op,
		Fingerprint: idempotency.Fingerprinted{Method: "POST", Target: "/orders"}.Fingerprint(), Method: "POST", TargetURI: "/orders", Route: "orders",
		Budget: time.Hour, Retention: keep, Trace: idempotency.Trace{TraceID: [16]byte{byte(o.serial)}, SpanID: [8]byte{1}},
	})
}

// unknown makes a record in doubt.
func (o *office) unknown() idempotency.Record {
	return o.apply(idempotency.Doubt{Attempt: o.executing().Attempt, Cause: "timeout", Retention: keep})
}

type answered struct {
	status int
	header http.Header
	body   string
}

// send makes a request with pairs of header fields; "Host" is one of them.
func (o *office) send(method, target, body string, header ...string) answered {
	o.Helper()
	req, err := http.NewRequestWithContext(o.Context(), method, o.server.URL+target, strings.NewReader(body))
	if err != nil {
		o.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else {
			req.Header.Add(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		o.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		o.Fatal(err)
	}
	path, _, _ := strings.Cut(target, "?")
	known := !strings.HasSuffix(path, "/nothing")
	if err := o.doc.Check(openapitest.Answer{Method: method, Path: path, Status: resp.StatusCode, Header: resp.Header, Body: b}); known && err != nil {
		o.Errorf("%v\n%s", err, b)
	}
	return answered{resp.StatusCode, resp.Header, string(b)}
}

func (o *office) resolve(r idempotency.Record, body string, header ...string) answered {
	o.Helper()
	if len(header) == 0 {
		header = []string{"Authorization", "Bearer " + aliceToken}
	}
	return o.send("POST", requestPath(r)+"/resolution", body, append(header, "Content-Type", "application/json")...)
}

func requestPath(r idempotency.Record) string { return "/admin/v1/requests/" + r.ID.String() }

func (a answered) slug() string {
	var p struct{ Code string }
	_ = json.Unmarshal([]byte(a.body), &p)
	return p.Code
}

func (o *office) wants(what string, a answered, status int, slug string) {
	o.Helper()
	if a.status != status || a.slug() != slug {
		o.Errorf("%s: %d %q, want %d %q\n%s", what, a.status, a.slug(), status, slug, a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		o.Errorf("%s: Cache-Control: %q", what, a.header.Get("Cache-Control"))
	}
}

func (o *office) record(a answered) (r generated.Record) {
	o.Helper()
	if err := json.Unmarshal([]byte(a.body), &r); err != nil {
		o.Error(err)
	}
	return r
}

const bearer = "Bearer " + aliceToken

func TestWhoMayDoWhat(t *testing.T) {
	o := newOffice(t)
	r := o.unknown()
	one, resolution := requestPath(r), requestPath(r)+"/resolution"
	for _, tt := range []struct {
		name, method, target string
		header               []string
		status               int
		slug                 string
	}{
		{"read on this machine", "GET", one, nil, 200, ""},
		{"read with a token", "GET", one, []string{"Authorization", "bearer " + bobToken}, 200, ""},
		{"read with a wrong token", "GET", one, []string{"Authorization", bearer + "x"}, 401, "unauthenticated"},
		{"read with another scheme", "GET", one, []string{"Authorization", "Basic " + aliceToken}, 401, "unauthenticated"},
		{"read with no token behind a scheme", "GET", one, []string{"Authorization", "Bearer"}, 401, "unauthenticated"},
		{"read with two tokens", "GET", one, []string{"Authorization", bearer, "Authorization", bearer}, 401, "unauthenticated"},
		{"read through a proxy on this machine", "GET", one, []string{"X-Forwarded-For", "192.0.2.1"}, 401, "unauthenticated"},
		{"the same with a token", "GET", one, []string{"X-Forwarded-For", "192.0.2.1", "Authorization", bearer}, 200, ""},
		{"HEAD", "HEAD", one, nil, 200, ""},
		{"read bodies without a token", "GET", one + "?include=body", nil, 401, "unauthenticated"},
		{"read bodies with one", "GET", one + "?include=body", []string{"Authorization", bearer}, 200, ""},
		{"write without a token", "POST", resolution, nil, 401, "unauthenticated"},
		{"write with a wrong token", "POST", resolution, []string{"Authorization", "Bearer x"}, 401, "unauthenticated"},
		{"write with the digest of a token", "POST", resolution, []string{"Authorization", fmt.Sprintf("Bearer %x", sha256.Sum256([]byte(aliceToken)))}, 401, "unauthenticated"},
		{"write a form", "POST", resolution, []string{"Authorization", bearer, "Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported-media-type"},
		{"write plain text", "POST", resolution, []string{"Authorization", bearer, "Content-Type", "text/plain"}, 415, "unsupported-media-type"},

		{"localhost", "GET", one, []string{"Host", "localhost:9090"}, 200, ""},
		{"an address", "GET", one, []string{"Host", "[::1]:9090"}, 200, ""},
		{"the host of admin.listen", "GET", one, []string{"Host", "Console.test:1234"}, 200, ""},
		{"another host", "GET", one, []string{"Host", "evil.example"}, 403, "forbidden"},
		{"another host, with a token", "GET", one, []string{"Host", "evil.example:9090", "Authorization", bearer}, 403, "forbidden"},
		{"a host that begins like one", "GET", one, []string{"Host", "localhost.evil.example"}, 403, "forbidden"},
		{"another host writes", "POST", resolution, []string{"Host", "127.0.0.1.evil.example", "Authorization", bearer}, 403, "forbidden"},
		{"another origin", "GET", one, []string{"Origin", "https://evil.example"}, 403, "forbidden"},
		{"no origin that can be named", "POST", resolution, []string{"Origin", "null", "Authorization", bearer}, 403, "forbidden"},
		{"another port", "POST", resolution, []string{"Host", "localhost:9090", "Origin", "http://localhost:3000", "Authorization", bearer}, 403, "forbidden"},
		{"its own origin", "GET", one, []string{"Host", "localhost:9090", "Origin", "http://localhost:9090"}, 200, ""},
		{"embedded by another site", "GET", one, []string{"Sec-Fetch-Site", "cross-site"}, 403, "forbidden"},
		{"another part of the site", "GET", one, []string{"Sec-Fetch-Site", "same-site"}, 403, "forbidden"},
		{"typed into the address bar", "GET", one, []string{"Sec-Fetch-Site", "none"}, 200, ""},
		{"a preflight", "OPTIONS", resolution, []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}, 403, "forbidden"},

		{"read by POST", "POST", "/admin/v1/requests", []string{"Authorization", bearer}, 405, "method-not-allowed"},
		{"delete", "DELETE", one, []string{"Authorization", bearer}, 405, "method-not-allowed"},
		{"write by PUT", "PUT", resolution, []string{"Authorization", bearer}, 405, "method-not-allowed"},
		{"nothing there", "GET", "/admin/v1/nothing", nil, 404, "no-route"},
		{"no operation", "GET", "/admin/v1/requests/4711", nil, 400, "request-malformed"},
		{"an unknown operation", "GET", "/admin/v1/requests/00000000-0000-8000-8000-000000000000", nil, 404, "no-record"},
		{"an unknown parameter", "GET", one + "?bodies=all", nil, 400, "request-malformed"},
	} {
		a := o.send(tt.method, tt.target, `{"outcome":"executed","evidence":"e"}`, tt.header...)
		if tt.method == "HEAD" {
			if a.status != tt.status || a.body != "" {
				t.Errorf("HEAD: %d %q", a.status, a.body)
			}
			continue
		}
		o.wants(tt.name, a, tt.status, tt.slug)
		if a.status == 401 && a.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: WWW-Authenticate: %q", tt.name, a.header.Get("WWW-Authenticate"))
		}
		if a.status == 405 && a.header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", tt.name)
		}
		if a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: another origin may read", tt.name)
		}
	}
	if r := o.apply(idempotency.Note{Operation: r.ID, N: 1, By: "probe", Text: "looked"}); r.State != idempotency.Unknown {
		t.Errorf("something was resolved: %v", r.State)
	}
}

// Without the addresses of a connection nobody is taken for local.
func TestReadingFromElsewhereNeedsAToken(t *testing.T) {
	o := newOffice(t)
	for _, tt := range []struct {
		header string
		status int
	}{{"", 401}, {bearer, 200}, {bearer + "x", 401}} {
		r := httptest.NewRequest("GET", "/admin/v1/instances", nil)
		r.Host = "10.0.0.1:9090"
		if tt.header != "" {
			r.Header.Set("Authorization", tt.header)
		}
		w := httptest.NewRecorder()
		o.api.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%q: %d, want %d", tt.header, w.Code, tt.status)
		}
	}
}

func TestProblemsHaveTheirPages(t *testing.T) {
	o := newOffice(t)
	for slug, status := range map[string]int{"owner-may-hold-answers": 200, "evidence-missing": 200, "none": 404} {
		if a := o.send("GET", "/.well-known/idempotency/problems/"+slug, ""); a.status != status {
			t.Errorf("%s: %d", slug, a.status)
		}
	}
}

func TestLists(t *testing.T) {
	o := newOffice(t)
	unknown, executing := o.unknown(), o.executing()
	proved := o.executing()
	o.apply(idempotency.Release{Attempt: proved.Attempt, Cause: "dial", Retention: keep})
	o.apply(idempotency.Complete{Attempt: proved.Attempt, Response: idempotency.NewResponse(200, nil, []byte("body of a caller")), Retention: keep})
	done := o.executing()
	o.apply(idempotency.Complete{Attempt: done.Attempt, Response: idempotency.NewResponse(200, nil, []byte("body of a caller")), Retention: keep})
	all := []idempotency.Record{unknown, executing, proved, done}
	for _, tt := range []struct {
		query string
		want  []idempotency.Record
	}{
		{"", all},
		{"?state=unknown", all[:1]},
		{"?state=executing", all[1:2]},
		{"?state=not_executed", all[2:3]},
		{"?contradicted=true", all[2:3]},
		{"?caller=shop", all},
		{"?caller=", nil},
		{"?caller=shop&route=orders&max_age=1h&state=completed", all[3:]},
		{"?route=refunds", nil},
		{"?age=1h", nil},
		{"?trace=" + done.Trace.String(), all[3:]},
		{"?operation=" + executing.ID.String(), all[1:2]},
		{"?operation=" + executing.ID.String() + "&state=unknown", nil},
		{"?operation=00000000-0000-8000-8000-000000000000", nil},
	} {
		var got, want []string
		for _, r := range o.list(tt.query).Items {
			got = append(got, r.Operation)
		}
		for _, r := range tt.want {
			want = append(want, r.ID.String())
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", tt.query, got, want)
		}
	}
	if a := o.send("GET", "/admin/v1/requests", ""); strings.Contains(a.body, "body of a caller") {
		t.Error("a list shows bodies")
	}
	seen, query := 0, "?limit=1"
	for pages := 0; query != ""; pages++ {
		list := o.list(query)
		seen += len(list.Items)
		query = ""
		if list.Next != nil {
			query = "?limit=1&cursor=" + url.QueryEscape(*list.Next)
		}
		if pages > 10 {
			t.Fatal("the list does not end")
		}
	}
	if seen != len(all) {
		t.Errorf("%d records on all pages, want %d", seen, len(all))
	}
	for _, query := range []string{"?state=lost", "?state=unseen", "?age=long", "?age=-1s", "?max_age=0", "?trace=1", "?trace=" + strings.Repeat("0", 32),
		"?operation=x", "?contradicted=1", "?limit=0", "?limit=501", "?limit=x", "?cursor=x", "?status=unknown", "?state=unknown&state=executing",
		"?limit=1&caller=%zz", "?state=unknown;limit=1"} {
		o.wants(query, o.send("GET", "/admin/v1/requests"+query, ""), 400, "request-malformed")
	}
}

func (o *office) list(query string) (list generated.List) {
	o.Helper()
	a := o.send("GET", "/admin/v1/requests"+query, "")
	if a.status != 200 {
		o.Fatalf("%s: %d %s", query, a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		o.Fatal(err)
	}
	return list
}

func TestContradictionsAreShown(t *testing.T) {
	o := newOffice(t)
	r := o.unknown()
	if a := o.resolve(r, `{"outcome":"not_executed","evidence":"not in the ledger"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	o.apply(idempotency.Complete{Attempt: r.Attempt, Response: idempotency.NewResponse(201, map[string][]string{"Etag": {"x"}}, []byte("after all")), Retention: keep})
	shown := o.record(o.send("GET", requestPath(r), ""))
	// The stored state is shown as it is, and what the caller is told, not to send again.
	if !shown.Contradicted || shown.State != "not_executed" || shown.Next != "reconcile" || len(shown.Contradictions) != 1 || len(shown.Evidence) != 1 ||
		shown.Contradictions[0].Response.Status != 201 || shown.Contradictions[0].Response.Body != nil || shown.Evidence[0].By != "alice" ||
		len(shown.AttemptHistory) != 1 || !slices.Contains(shown.AttemptHistory[0].Proof, "contradiction") {
		t.Errorf("%+v", shown)
	}
	shown = o.record(o.send("GET", requestPath(r)+"?include=body", "", "Authorization", bearer))
	if body := shown.Contradictions[0].Response.Body; body == nil || *body != "after all" {
		t.Errorf("body of the contradicting answer: %v", body)
	}
}

func TestInstances(t *testing.T) {
	o := newOffice(t)
	o.acquire(idempotency.Instance{ID: [16]byte{2}, Host: "two", Version: "test", Spool: &idempotency.SpoolNote{}})
	if err := o.model.NoteSpool(t.Context(), o.owner.Instance, &idempotency.SpoolNote{Depth: 2, Oldest: time.Now()}); err != nil {
		t.Fatal(err)
	}
	var got generated.Instances
	if err := json.Unmarshal([]byte(o.send("GET", "/admin/v1/instances", "").body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Items) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, i := range got.Items {
		spooling := i.Host == "two"
		if !i.Alive || i.LeaseUntil == nil || (i.Spool != nil) != spooling || i.MayHoldAnswers != spooling || spooling && (i.Spool.Depth != 2 || i.Spool.Oldest == nil) {
			t.Errorf("%+v", i)
		}
	}
	o.wants("limit", o.send("GET", "/admin/v1/instances?limit=0", ""), 400, "request-malformed")
}

func TestStoreInTrouble(t *testing.T) {
	o := newOffice(t)
	r := o.unknown()
	o.find = errors.New("connection refused by db.internal")
	a := o.send("GET", requestPath(r), "")
	o.wants("read", a, 503, "store-unavailable")
	if strings.Contains(a.body, "db.internal") || !strings.Contains(o.log.String(), "db.internal") {
		t.Errorf("the cause belongs to the log, and only there: %s\n%s", a.body, o.log)
	}
	o.find, o.failure.resolve = nil, idempotency.ErrStoreTimeout
	a = o.resolve(r, `{"outcome":"executed","evidence":"seen"}`)
	o.wants("resolve", a, 503, "store-unavailable")
	if !strings.Contains(a.body, "may be written") {
		t.Errorf("nobody knows whether it was written, and the answer does not say so: %s", a.body)
	}
}

// Every answer is held against the document. Here it is a wrong one, and that is noticed.
func TestWrongDocumentIsNoticed(t *testing.T) {
	o := newOffice(t)
	r := o.unknown()
	path := "/admin/v1/requests/" + r.ID.String()
	found, missing := o.send("GET", path, ""), o.send("GET", "/admin/v1/requests/"+idempotency.OperationID{}.String(), "")
	for name, change := range map[string]struct {
		from, to string
		answer   answered
	}{
		"another type":      {"attempts: {type: integer, minimum: 0}", "attempts: {type: string}", found},
		"a member less":     {"        contradicted: {type: boolean", "        refuted: {type: boolean", found},
		"a member more":     {"[instance, epoch]", "[instance, epoch, lease]", found},
		"another caching":   {"enum: [no-store]", "enum: [no-cache]", found},
		"another problem":   {"code, title, status,", "code, title, status, instance,", missing},
		"another next":      {"resend, reconcile, stop]", "resend, reconcile]", missing},
		"another mediatype": {"application/problem+json:", "application/json:", missing},
	} {
		doc, err := openapitest.LoadAltered("../../openapi/admin.yaml", change.from, change.to)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if doc.Check(openapitest.Answer{Method: "GET", Path: path, Status: change.answer.status, Header: change.answer.header, Body: []byte(change.answer.body)}) == nil {
			t.Errorf("%s: nothing was noticed", name)
		}
	}
}
