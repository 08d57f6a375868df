package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// storm sends again and again what next makes, many at once, until it is ended. It counts answers by status.
type storm struct {
	over     func()
	all      sync.WaitGroup
	statuses [600]atomic.Int64
}

func (s *storm) begin(t *testing.T, g *rig.Gateway, many int, next func(i int) rig.Request) {
	stop := make(chan struct{})
	s.over = sync.OnceFunc(func() { close(stop) })
	for i := range many {
		s.all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if a, err := g.Try(t, next(i)); err == nil {
					s.statuses[a.Status].Add(1)
				}
			}
		})
	}
	t.Cleanup(s.end)
}

func (s *storm) end() {
	s.over()
	s.all.Wait()
}

// locked holds a lock of Postgres in a transaction, until it is released.
func locked(t *testing.T, dsn, statement string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), "BEGIN; "+statement); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
	}
}

// Questions that take all the connections they can get take none from requests. Every question stands in the
// store at a lock on the answers; the requests are of a kind that needs none of these.
func TestAStormOfQuestionsDoesNotHoldRequests(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "store_timeout: 4s"})
	release := locked(t, dsn, "LOCK TABLE payloads IN ACCESS EXCLUSIVE MODE")
	var questions storm
	questions.begin(t, g, 400, func(i int) rig.Request {
		if i%2 == 0 {
			return queryOf([]string{newKey(), newKey()}, "")
		}
		return rig.Request{Method: "GET", Path: recordPath(newKey())}
	})
	g.Until(t, "questions fail", func() bool { return questions.statuses[503].Load() > 20 })
	throttled := rig.Request{Body: "a", Script: ledger.Script{Status: 429, NoEffect: true}}
	for range 10 {
		throttled.Key = newKey()
		g.Do(t, throttled).Is(t, rig.Want{Status: 429, State: "not_executed", Next: "resend"})
	}
	if n := questions.statuses[200].Load() + questions.statuses[404].Load(); n != 0 {
		t.Errorf("%d questions were answered, so that nothing was tested", n)
	}
	release()
	g.Until(t, "questions are answered again", func() bool { return questions.statuses[404].Load() > 0 })
	questions.end()
	g.Do(t, rig.Request{Key: throttled.Key, Body: "a"}).Is(t, executed)
	wantEffects2(t, b, throttled.Key)
}

// wantEffects2 checks that a key was sent twice and executed once.
func wantEffects2(t *testing.T, b *ledger.Backend, key string) {
	t.Helper()
	if sent, done := len(b.Of(t, ledger.Begin, key)), b.Effects(t, key); sent != 2 || done != 1 {
		t.Errorf("sent %d times, executed %d times", sent, done)
	}
}

// Requests that can be neither claimed nor settled take nothing from those who ask what became of theirs.
func TestAStormOfRequestsDoesNotHoldQuestions(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "store_timeout: 4s"})
		made := rig.Request{Key: newKey(), Body: "a"}
		g.Do(t, made).Is(t, executed)
		var release func()
		if path, embedded := strings.CutPrefix(dsn, "sqlite:"); embedded {
			release = lockedFile(t, path)
		} else {
			release = locked(t, dsn, "LOCK TABLE requests IN EXCLUSIVE MODE")
		}
		var requests storm
		requests.begin(t, g, 200, func(int) rig.Request { return rig.Request{Key: newKey(), Body: "a"} })
		g.Until(t, "requests are refused", func() bool { return requests.statuses[503].Load() > 20 })
		for i := range 20 {
			g.Get(t, recordPath(made.Key)).Is(t, rig.Want{Status: 200, State: "completed", Next: "done"})
			never := fmt.Sprint(newKey(), i)
			if r := summary(t, g.Do(t, queryOf([]string{made.Key, never}, "")), "unseen", "resend"); len(r.Records) != 1 || len(r.Unseen) != 1 {
				t.Errorf("%+v", r)
			}
		}
		if n := requests.statuses[200].Load(); n != 0 {
			t.Errorf("%d requests were executed, so that nothing was tested", n)
		}
		release()
		g.Until(t, "requests are executed again", func() bool { return requests.statuses[200].Load() > 0 })
		requests.end()
	})
}

// lockedFile holds the write lock of a SQLite file, until it is released.
func lockedFile(t *testing.T, path string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
	}
}
