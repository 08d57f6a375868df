package participant

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/internal/pgtest"
)

// effects is the ledger: what the backend really did. It has no constraint, so that a second effect shows.
const effects = "CREATE TABLE effects (operation text NOT NULL, attempt integer NOT NULL)"

// effect has the effect that all tests count.
type effect func() error

// subject is a Table without its kind of transaction.
type subject interface {
	Do(context.Context, Attempt, func(context.Context, effect) (*idempotency.Response, error)) (Result, error)
	Serve(http.ResponseWriter, *http.Request, func(context.Context, effect) (*idempotency.Response, error))
	Fence(context.Context, idempotency.OperationID, int) (idempotency.Envelope, error)
	Probe() http.Handler
	Purge(context.Context, Retention) (Purged, error)
	// Begin starts a transaction by hand.
	Begin(context.Context) (transaction, error)
}

type transaction interface {
	Claim(Attempt) (Claim, error)
	Record(Attempt, *idempotency.Response) error
	Effect(Attempt) error
	Commit() error
	Rollback()
}

type adapter[Tx any] struct{ *Table[Tx] }

func (s adapter[Tx]) work(a Attempt, work func(context.Context, effect) (*idempotency.Response, error)) Work[Tx] {
	return func(ctx context.Context, tx Tx) (*idempotency.Response, error) {
		return work(ctx, func() error { return s.effect(ctx, tx, a) })
	}
}

func (s adapter[Tx]) effect(ctx context.Context, tx Tx, a Attempt) error {
	_, err := s.driver.exec(ctx, tx, "INSERT INTO effects (operation, attempt) VALUES ($1, $2)", a.Operation.String(), a.N)
	return err
}

func (s adapter[Tx]) Do(ctx context.Context, a Attempt, work func(context.Context, effect) (*idempotency.Response, error)) (Result, error) {
	return s.Table.Do(ctx, a, s.work(a, work))
}

func (s adapter[Tx]) Serve(w http.ResponseWriter, r *http.Request, work func(context.Context, effect) (*idempotency.Response, error)) {
	a, _ := FromRequest(r)
	s.Table.Serve(w, r, s.work(a, work))
}

func (s adapter[Tx]) Begin(ctx context.Context) (transaction, error) {
	tx, err := s.driver.begin(ctx)
	return open[Tx]{s, ctx, tx}, err
}

type open[Tx any] struct {
	s   adapter[Tx]
	ctx context.Context
	tx  Tx
}

func (o open[Tx]) Claim(a Attempt) (Claim, error) { return o.s.Claim(o.ctx, o.tx, a) }
func (o open[Tx]) Record(a Attempt, r *idempotency.Response) error {
	return o.s.Record(o.ctx, o.tx, a, r)
}
func (o open[Tx]) Effect(a Attempt) error { return o.s.effect(o.ctx, o.tx, a) }
func (o open[Tx]) Commit() error          { return o.s.driver.commit(o.ctx, o.tx) }
func (o open[Tx]) Rollback()              { o.s.rollback(o.ctx, o.tx) }

// world is a database with the tables, and one subject on it.
type world struct {
	subject
	kind   string
	dsn    string
	look   *sql.DB // what the test itself reads and writes
	reopen func(t *testing.T) subject
}

// kinds are all ways to take part, each with a database of its own.
var kinds = map[string]func(t *testing.T, settings ...string) *world{
	"pgx": newPgx, "postgres": newPostgres, "sqlite": newSQLite,
	// What pgbouncer needs that knows no prepared statements.
	"pgx, simple protocol": func(t *testing.T, _ ...string) *world { return newPgx(t, "default_query_exec_mode", "simple_protocol") },
}

func each(t *testing.T, test func(t *testing.T, w *world)) {
	for kind, start := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

// newPgx takes settings of the backend's sessions, as name and value.
func newPgx(t *testing.T, settings ...string) *world {
	t.Helper()
	return onPgx(t, pgtest.New(t), settings...)
}

func onPgx(t *testing.T, dsn string, settings ...string) *world {
	t.Helper()
	w := &world{kind: "pgx", dsn: dsn, look: openSQL(t, "pgx", dsn)}
	prepare(t, w.look, PostgresSchema)
	w.reopen = func(t *testing.T) subject { return adapter[pgx.Tx]{Pgx(openPool(t, with(w.dsn, settings...)))} }
	w.subject = w.reopen(t)
	return w
}

func newPostgres(t *testing.T, settings ...string) *world {
	t.Helper()
	w := &world{kind: "postgres", dsn: pgtest.New(t)}
	w.look = openSQL(t, "pgx", w.dsn)
	prepare(t, w.look, PostgresSchema)
	w.reopen = func(t *testing.T) subject {
		return adapter[*sql.Tx]{SQL(openSQL(t, "pgx", with(w.dsn, settings...)), Postgres)}
	}
	w.subject = w.reopen(t)
	return w
}

func newSQLite(t *testing.T, _ ...string) *world {
	t.Helper()
	w := &world{kind: "sqlite"}
	w.dsn = "file:" + filepath.Join(t.TempDir(), "backend.db") + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(30000)"
	w.look = openSQL(t, "sqlite", w.dsn)
	prepare(t, w.look, SQLiteSchema)
	w.reopen = func(t *testing.T) subject { return adapter[*sql.Tx]{SQL(openSQL(t, "sqlite", w.dsn), SQLite)} }
	w.subject = w.reopen(t)
	return w
}

// with adds settings to the URL of a database.
func with(dsn string, settings ...string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		panic(err)
	}
	q := u.Query()
	for i := 0; i+1 < len(settings); i += 2 {
		q.Set(settings[i], settings[i+1])
	}
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // pgx takes a plus for a plus
	return u.String()
}

func openPool(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), with(dsn, "pool_max_conns", "16"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func openSQL(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(16)
	t.Cleanup(func() { db.Close() })
	return db
}

func prepare(t *testing.T, db *sql.DB, schema string) {
	t.Helper()
	for range 2 { // the second time it is there
		if _, err := db.Exec(schema); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(effects); err != nil {
		t.Fatal(err)
	}
}

// exec changes the database behind the subject's back.
func (w *world) exec(t *testing.T, text string, args ...any) {
	t.Helper()
	if _, err := w.look.Exec(text, args...); err != nil {
		t.Fatal(err)
	}
}

// attempts returns the attempts of an operation that had an effect.
func (w *world) attempts(t *testing.T, operation idempotency.OperationID) (attempts []int) {
	t.Helper()
	rows, err := w.look.Query("SELECT attempt FROM effects WHERE operation = $1", operation.String())
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		attempts = append(attempts, n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return attempts
}

// newOperation returns an operation that nobody has seen.
func newOperation() idempotency.OperationID {
	return idempotency.OperationID(idempotency.NewAttemptID())
}

// created is the answer of every work of these tests that says nothing else.
func created(a Attempt) *idempotency.Response {
	return idempotency.NewResponse(201, map[string][]string{"Content-Type": {"text/plain"}, "X-Many": {"a", "b"}},
		fmt.Appendf(nil, "effect of attempt %d", a.N))
}

// book has the effect and answers.
func book(a Attempt) func(context.Context, effect) (*idempotency.Response, error) {
	return func(_ context.Context, effect effect) (*idempotency.Response, error) { return created(a), effect() }
}

// do executes an attempt that must have a result.
func (w *world) do(t *testing.T, a Attempt) Result {
	t.Helper()
	r, err := w.Do(t.Context(), a, book(a))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *world) fence(t *testing.T, operation idempotency.OperationID, n int) idempotency.Envelope {
	t.Helper()
	e, err := w.Fence(t.Context(), operation, n)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// wantExecuted checks a result against the one effect of attempt by.
func (w *world) wantExecuted(t *testing.T, r Result, decision Decision, operation idempotency.OperationID, by int) {
	t.Helper()
	want := created(Attempt{operation, by})
	if r.Decision != decision || r.Response == nil || r.Response.Status != want.Status || !bytes.Equal(r.Response.Body, want.Body) ||
		fmt.Sprint(r.Response.Header) != fmt.Sprint(want.Header) {
		t.Errorf("result is %v %+v, want %v %+v", r.Decision, r.Response, decision, want)
	}
	w.wantEffects(t, operation, by)
}

func (w *world) wantEffects(t *testing.T, operation idempotency.OperationID, attempts ...int) {
	t.Helper()
	if got := w.attempts(t, operation); fmt.Sprint(got) != fmt.Sprint(attempts) {
		t.Errorf("effects of attempts %v, want %v", got, attempts)
	}
}

// probe sends a probe to a mounted handler.
func (w *world) probe(t *testing.T, operation idempotency.OperationID, header ...string) *http.Response {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/operations/{operation}", w.Probe())
	r := httptest.NewRequest(http.MethodGet, "/operations/"+operation.String(), nil)
	r.Header.Set(HeaderOperation, operation.String())
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, r)
	return answer.Result()
}

// patience bounds every wait for what must happen.
const patience = 60 * time.Second

// until polls until done.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for !done() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(victimVariable) != "" {
		victim()
		return
	}
	os.Exit(m.Run())
}
