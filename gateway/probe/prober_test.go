package probe

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
)

var keep = idempotency.Retention{Response: time.Hour, Key: 24 * time.Hour}

// backend answers probes in memory, and remembers when it was asked about what.
type backend struct {
	answer func(*http.Request) (*http.Response, error)

	mu     sync.Mutex
	asked  map[string][]time.Time // by operation
	last   http.Header
	asking int
	most   int // at a time
}

func (b *backend) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	op := strings.TrimPrefix(r.URL.Path, "/operations/")
	if b.asked == nil {
		b.asked = map[string][]time.Time{}
	}
	b.asked[op] = append(b.asked[op], time.Now())
	b.last = r.Header
	b.asking++
	b.most = max(b.most, b.asking)
	answer := b.answer
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.asking--
	}()
	return answer(r)
}

func (b *backend) answers(answer func(*http.Request) (*http.Response, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

func (b *backend) times(op idempotency.OperationID) []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked[op.String()]
}

func reply(status int, fields ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: status, ProtoMajor: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("answer")), ContentLength: 6}
		for i := 0; i+1 < len(fields); i += 2 {
			resp.Header.Add(fields[i], fields[i+1])
		}
		return resp, nil
	}
}

// hang answers nothing until the probe is given up.
func hang(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// store is the model, away for as long as a test wants.
type store struct {
	*storetest.Model
	away atomic.Bool
}

var errAway = errors.New("connection refused")

func (s *store) TakeProbes(ctx context.Context, routes []string, limit int, hold time.Duration) ([]idempotency.OperationID, error) {
	if s.away.Load() {
		return nil, errAway
	}
	return s.Model.TakeProbes(ctx, routes, limit, hold)
}

func (s *store) Apply(ctx context.Context, ts []idempotency.Transition) ([]idempotency.Result, error) {
	if s.away.Load() {
		return nil, errAway
	}
	return s.Model.Apply(ctx, ts)
}

// world is a store with an engine, in a bubble of virtual time.
type world struct {
	*testing.T
	store  *store
	engine *idempotency.Engine
	owner  idempotency.Owner
	begun  time.Time
	serial int
}

const lease = 10 * time.Second

func in(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, store: &store{Model: storetest.NewModel(time.Now, lease, true)}, begun: time.Now()}
		var err error
		if w.owner, err = w.store.Acquire(t.Context(), idempotency.Instance{ID: [16]byte{1}}, lease); err != nil {
			t.Fatal(err)
		}
		committer := idempotency.NewCommitter(w.store, idempotency.CommitterOptions{Timeout: 2 * time.Second})
		w.engine = idempotency.NewEngine(w.store, committer, idempotency.NewLease(w.store, idempotency.Instance{}, lease, sinceBegun{w.begun}), nil)
		t.Cleanup(func() {
			w.store.away.Store(false)
			committer.Stop()
		})
		test(w)
	})
}

// probes runs a prober until the bubble ends. Routes are "a", with the policy, and "b", the same elsewhere.
func (w *world) probes(b *backend, p config.Probe) *Prober {
	w.Helper()
	if p.Executed == nil {
		p.Executed, p.Absent = []int{200}, []int{404}
	}
	if p.Settle == 0 {
		p.Settle = time.Minute
	}
	p.URL = "http://backend/operations/{operation}"
	var routes []Route
	for _, name := range []string{"a", "b"} {
		routes = append(routes, Route{Name: name, Policy: &p, MaxAnswer: 100, Keep: func(r *idempotency.Response) *idempotency.Response { return r }})
	}
	prober := New(Options{
		Routes: routes, Store: w.store, Records: w.engine, Retention: keep,
		Observer: telemetry.Discard(), Log: slog.New(slog.DiscardHandler), Transport: b,
	})
	prober.Start()
	w.Cleanup(prober.Stop)
	return prober
}

func (w *world) apply(t idempotency.Transition) idempotency.Record {
	w.Helper()
	results, err := w.store.Model.Apply(context.Background(), []idempotency.Transition{t})
	if err != nil {
		w.Fatal(err)
	}
	return results[0].Record
}

// claim returns the attempt of a new operation.
func (w *world) claim(route string) idempotency.Attempt {
	w.Helper()
	w.serial++
	o := idempotency.Operation{Caller: "alice", Key: idempotency.Key(strings.Repeat("k", w.serial))}
	return w.apply(idempotency.Claim{
		Attempt:   idempotency.Attempt{Operation: o.ID(), ID: idempotency.NewAttemptID(), Owner: w.owner},
		Operation: o, Fingerprint: idempotency.Fingerprint{Version: 1, Sum: [32]byte{1}}, Method: "POST", TargetURI: "/", Route: route,
		Budget: time.Minute, Retention: keep, Trace: idempotency.Trace{TraceID: [16]byte{1}, SpanID: [8]byte{2}},
	}).Attempt
}

func (w *world) doubt(route string) idempotency.Attempt {
	w.Helper()
	a := w.claim(route)
	w.apply(idempotency.Doubt{Attempt: a, Cause: "timeout", Retention: keep})
	return a
}

func (w *world) is(a idempotency.Attempt, want idempotency.State) idempotency.Record {
	w.Helper()
	rs, err := w.store.Find(context.Background(), []idempotency.OperationID{a.Operation})
	if err != nil || rs[0].State != want {
		w.Errorf("after %v the record is %v, want %v, %v", time.Since(w.begun), rs[0].State, want, err)
	}
	return rs[0]
}

// after lets virtual time pass until everybody waits for more of it.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestExecutedIsForgottenWithinASecond(t *testing.T) {
	in(t, func(w *world) {
		b := &backend{answer: reply(200)}
		w.probes(b, config.Probe{Headers: map[string]string{"Authorization": "Bearer s"}})
		after(7 * time.Second)
		a, held := w.doubt("a"), w.doubt("hold")
		after(time.Second)
		r := w.is(a, idempotency.Forgotten)
		if r.Response != nil || r.Resolution == nil || r.Resolution.By != "probe" || !strings.Contains(r.Resolution.Evidence, "200") {
			t.Errorf("%+v", r)
		}
		w.is(held, idempotency.Unknown)
		after(time.Hour)
		if n := len(b.times(a.Operation)); n != 1 {
			t.Errorf("asked %d times", n)
		}
		for name, want := range map[string]string{
			"Onceway-Operation": a.Operation.String(), "Onceway-Attempt": "1", "Authorization": "Bearer s",
			"Traceparent": "00-01000000000000000000000000000000-0200000000000000-01",
		} {
			if got := b.last.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	})
}

func TestReplayIsCompleted(t *testing.T) {
	in(t, func(w *world) {
		w.probes(&backend{answer: reply(200, "X-A", "b")}, config.Probe{Replay: true})
		a := w.doubt("a")
		after(time.Second)
		r := w.is(a, idempotency.Completed)
		if r.Response.Status != 200 || string(r.Response.Body) != "answer" || r.Response.Header["X-A"][0] != "b" {
			t.Errorf("%+v", r.Response)
		}
	})
}

// Absence that proves nothing is noted once, and asked about again and again, in ever longer pauses.
func TestAbsenceIsIgnored(t *testing.T) {
	in(t, func(w *world) {
		b := &backend{answer: reply(404, HeaderFenced, "true")}
		w.probes(b, config.Probe{})
		a := w.doubt("a")
		after(time.Minute + 2*time.Second)
		times := b.times(a.Operation)
		if n := len(times); n < 8 || n > 25 {
			t.Errorf("asked %d times before settle ended", n)
		}
		if last := times[len(times)-1].Sub(w.begun); last < time.Minute {
			t.Errorf("last asked after %v, not when settle ended", last)
		}
		after(10 * time.Hour)
		if n := len(b.times(a.Operation)); n > 80 {
			t.Errorf("asked %d times in ten hours", n)
		}
		w.is(a, idempotency.Unknown)
		kept := w.store.Evidence(a.Operation)
		if len(kept) != 1 || kept[0].Kind != idempotency.EvidenceAbsence || kept[0].By != "probe" || !strings.Contains(kept[0].Text, "0 s after") {
			t.Errorf("evidence: %+v", kept)
		}
	})
}

func TestAbsenceIsFenced(t *testing.T) {
	in(t, func(w *world) {
		w.probes(&backend{answer: reply(404, HeaderFenced, "true")}, config.Probe{Absence: config.AbsenceFenced})
		a := w.doubt("a")
		after(time.Second)
		if r := w.is(a, idempotency.NotExecuted); r.Resolution == nil || r.Resolution.By != "probe" {
			t.Errorf("%+v", r.Resolution)
		}
	})
}

func TestAbsenceSettles(t *testing.T) {
	in(t, func(w *world) {
		w.probes(&backend{answer: reply(404)}, config.Probe{Absence: config.AbsenceSettle, Settle: 20 * time.Second})
		a := w.doubt("a")
		after(20*time.Second - time.Millisecond)
		w.is(a, idempotency.Unknown)
		after(time.Second)
		w.is(a, idempotency.NotExecuted)
	})
}

// A backend that is away, or does not answer, proves nothing, and is asked until it does.
func TestBackendAwayThenBack(t *testing.T) {
	for name, away := range map[string]func(*http.Request) (*http.Response, error){
		"refused": func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") },
		"hangs":   hang,
		"503":     reply(503),
		"cut": func(*http.Request) (*http.Response, error) {
			resp, _ := reply(200)(nil)
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader("ans"), errReader{}))
			return resp, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(w *world) {
				var back atomic.Bool
				b := &backend{}
				b.answer = func(r *http.Request) (*http.Response, error) {
					if back.Load() {
						return reply(200)(r)
					}
					return away(r)
				}
				w.probes(b, config.Probe{Absence: config.AbsenceSettle, Settle: 10 * time.Second})
				a := w.doubt("a")
				after(5 * time.Minute)
				w.is(a, idempotency.Unknown)
				back.Store(true)
				after(2 * time.Minute)
				w.is(a, idempotency.Forgotten)
			})
		})
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// What hangs has slots of its own: it does not grow, and does not keep another route from being asked.
func TestSlots(t *testing.T) {
	in(t, func(w *world) {
		var all []idempotency.Attempt
		for range 100 {
			all = append(all, w.doubt("a"))
		}
		other := w.doubt("b")
		var back atomic.Bool
		b := &backend{}
		b.answer = func(r *http.Request) (*http.Response, error) {
			if back.Load() || r.Header.Get("Onceway-Operation") == other.Operation.String() {
				return reply(200)(r)
			}
			return hang(r)
		}
		w.probes(b, config.Probe{})
		after(time.Second)
		w.is(other, idempotency.Forgotten)
		after(time.Minute)
		b.mu.Lock()
		if b.most > slots+1 {
			t.Errorf("%d questions at a time", b.most)
		}
		b.mu.Unlock()
		back.Store(true)
		after(time.Minute)
		for _, a := range all {
			w.is(a, idempotency.Forgotten)
		}
	})
}

// Several gateways share the questions: a record is asked about as often as by one.
func TestGatewaysShare(t *testing.T) {
	in(t, func(w *world) {
		b := &backend{answer: reply(404)}
		for range 5 {
			w.probes(b, config.Probe{})
		}
		var all []idempotency.Attempt
		for range 20 {
			all = append(all, w.doubt("a"))
		}
		after(time.Minute)
		for _, a := range all {
			times := b.times(a.Operation)
			if len(times) == 0 || times[0].Sub(w.begun) > time.Second || len(times) > 25 {
				t.Errorf("asked %d times", len(times))
			}
			for i := 1; i < len(times); i++ {
				if pause := times[i].Sub(times[i-1]); pause < 400*time.Millisecond {
					t.Errorf("asked again after %v", pause)
				}
			}
		}
	})
}

// A gateway that took a question and died leaves it to another.
func TestAQuestionIsNotLostWithItsGateway(t *testing.T) {
	in(t, func(w *world) {
		a := w.doubt("a")
		dead := w.probes(&backend{answer: hang}, config.Probe{})
		after(time.Second)
		dead.Stop()
		w.store.Model.TakeProbes(t.Context(), []string{"a"}, 1, hold) // as if it had not put it off
		w.probes(&backend{answer: reply(200)}, config.Probe{})
		after(hold + time.Second)
		w.is(a, idempotency.Forgotten)
	})
}

// The store is away when something is due, and when something was found.
func TestStoreAwayThenBack(t *testing.T) {
	in(t, func(w *world) {
		b := &backend{}
		w.probes(b, config.Probe{})
		w.store.away.Store(true)
		first := w.doubt("a")
		after(time.Minute)
		if n := len(b.times(first.Operation)); n != 0 {
			t.Errorf("asked %d times", n)
		}
		b.answers(func(r *http.Request) (*http.Response, error) {
			w.store.away.Store(true)
			return reply(200)(r)
		})
		w.store.away.Store(false)
		after(10 * time.Second)
		w.is(first, idempotency.Unknown)
		b.answers(reply(200))
		w.store.away.Store(false)
		after(10 * time.Second)
		w.is(first, idempotency.Forgotten)
	})
}

// What happens to a record while its backend is asked is stronger than what the backend says.
func TestAnswersAboutThePast(t *testing.T) {
	in(t, func(w *world) {
		b := &backend{}
		w.probes(b, config.Probe{Absence: config.AbsenceFenced})
		for name, test := range map[string]struct {
			change func(a idempotency.Attempt)
			want   idempotency.State
		}{
			"late answer": {func(a idempotency.Attempt) {
				w.apply(idempotency.Complete{Attempt: a, Response: idempotency.NewResponse(201, nil, nil), Retention: keep})
			}, idempotency.Completed},
			"next attempt": {func(a idempotency.Attempt) {
				w.apply(idempotency.Release{Attempt: a, Cause: "dial", Retention: keep})
				rec := w.is(a, idempotency.NotExecuted)
				next := w.apply(idempotency.Claim{
					Attempt:   idempotency.Attempt{Operation: rec.ID, ID: idempotency.NewAttemptID(), Owner: w.owner},
					Operation: rec.Operation, Fingerprint: rec.Fingerprint, Route: "a", Budget: time.Minute, Retention: keep,
				}).Attempt
				w.apply(idempotency.Doubt{Attempt: next, Cause: "timeout", Retention: keep})
			}, idempotency.Unknown},
		} {
			a := w.claim("a")
			b.answers(func(r *http.Request) (*http.Response, error) {
				b.answers(reply(503)) // to whatever is asked about the next attempt
				test.change(a)
				return reply(404, HeaderFenced, "true")(r)
			})
			w.apply(idempotency.Doubt{Attempt: a, Cause: "timeout", Retention: keep})
			after(2 * time.Second)
			if r := w.is(a, test.want); r.Resolution != nil {
				t.Errorf("%s: resolved by %s", name, r.Resolution.By)
			}
		}
	})
}

// An orphan is asked about once a sweep has doubted it, and a wait for it goes on until then.
func TestSweptDoubt(t *testing.T) {
	in(t, func(w *world) {
		b := &backend{answer: reply(200)}
		p := w.probes(b, config.Probe{})
		a := w.claim("a")
		if p.Pending(w.is(a, idempotency.Executing)) {
			t.Error("a running attempt is pending for a probe")
		}
		if err := w.store.GiveBack(t.Context(), w.owner); err != nil {
			t.Fatal(err)
		}
		after(5 * time.Second)
		if !p.Pending(w.is(a, idempotency.Unknown)) || len(b.times(a.Operation)) != 0 {
			t.Error("an orphan that nobody has swept")
		}
		if n, err := w.store.Sweep(t.Context()); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		after(time.Second)
		w.is(a, idempotency.Forgotten)
	})
}

func TestPending(t *testing.T) {
	in(t, func(w *world) {
		p := w.probes(&backend{answer: reply(404)}, config.Probe{Settle: 20 * time.Second})
		a, held := w.doubt("a"), w.doubt("hold")
		for range 20 {
			if !p.Pending(w.is(a, idempotency.Unknown)) || p.Pending(w.is(held, idempotency.Unknown)) {
				t.Errorf("after %v", time.Since(w.begun))
			}
			after(time.Second)
		}
		after(timeout)
		if p.Pending(w.is(a, idempotency.Unknown)) {
			t.Error("still pending after settle")
		}
	})
}

// As long as the owner may have an answer in its spool, nothing else is made the operation's answer.
func TestSpooledAnswersComeFirst(t *testing.T) {
	in(t, func(w *world) {
		i := idempotency.Instance{ID: [16]byte{2}, Spool: &idempotency.SpoolNote{}}
		var err error
		if w.owner, err = w.store.Acquire(t.Context(), i, lease); err != nil {
			t.Fatal(err)
		}
		b := &backend{answer: reply(404, HeaderFenced, "true")}
		w.probes(b, config.Probe{Absence: config.AbsenceFenced})
		a := w.doubt("a")
		if err := w.store.GiveBack(t.Context(), w.owner); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.is(a, idempotency.Unknown)
		if n := len(b.times(a.Operation)); n != 0 {
			t.Errorf("asked %d times", n)
		}
		if err := w.store.NoteSpool(t.Context(), i.ID, nil); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.is(a, idempotency.NotExecuted)
	})
}

type sinceBegun struct{ begun time.Time }

func (c sinceBegun) Now() time.Duration { return time.Since(c.begun) }

// A gateway tells an answer out of its spool while it is cut off from the store, and comes back before it
// has noted that. It is alive then, and still the only one who knows the answer.
func TestAnOwnerReturnsWithAnAnswerThatWasTold(t *testing.T) {
	in(t, func(w *world) {
		i := idempotency.Instance{ID: [16]byte{2}}
		var depth atomic.Int64
		l := idempotency.NewLease(w.store, i, lease, sinceBegun{w.begun})
		l.UseSpool(func() idempotency.SpoolNote { return idempotency.SpoolNote{Depth: depth.Load(), Oldest: w.begun} })
		if err := l.Start(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		w.Cleanup(func() { _ = l.Stop(context.Background()) })
		w.owner, _ = l.Owner()
		a := w.claim("a")
		depth.Store(1)
		if err := w.store.GiveBack(t.Context(), w.owner); err != nil { // its lease lapses
			t.Fatal(err)
		}
		b := &backend{answer: reply(200)}
		w.probes(b, config.Probe{})
		after(time.Minute)
		if now, ok := l.Owner(); !ok || now == w.owner {
			t.Fatal("it has not come back")
		}
		w.is(a, idempotency.Unknown)
		if n := len(b.times(a.Operation)); n != 0 {
			t.Errorf("asked %d times", n)
		}
		w.apply(idempotency.Complete{Attempt: a, Response: idempotency.NewResponse(201, nil, nil), Retention: keep})
		w.is(a, idempotency.Completed)
	})
}

// What the owner has in its spool counts when the answer is recorded, not only when the question was asked.
func TestTheOwnerReturnsWhileItsBackendIsAsked(t *testing.T) {
	in(t, func(w *world) {
		i := idempotency.Instance{ID: [16]byte{2}, Spool: &idempotency.SpoolNote{}}
		var err error
		if w.owner, err = w.store.Acquire(t.Context(), i, time.Hour); err != nil {
			t.Fatal(err)
		}
		a := w.doubt("a")
		b := &backend{answer: func(r *http.Request) (*http.Response, error) {
			i.Spool = &idempotency.SpoolNote{Depth: 1, Oldest: w.begun}
			if _, err := w.store.Acquire(r.Context(), i, time.Hour); err != nil {
				t.Error(err)
			}
			return reply(200)(r)
		}}
		w.probes(b, config.Probe{})
		after(time.Minute)
		w.is(a, idempotency.Unknown)
		if n := len(b.times(a.Operation)); n != 1 {
			t.Errorf("asked %d times", n)
		}
		b.answers(reply(200))
		if err := w.store.NoteSpool(t.Context(), i.ID, &idempotency.SpoolNote{}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.is(a, idempotency.Forgotten)
	})
}
