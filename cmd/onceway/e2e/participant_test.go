package e2e

import (
	"context"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/participant"
	"github.com/onceway/onceway/internal/rig"
	_ "modernc.org/sqlite"
)

// shop is a backend that takes part: each order is a row, in the transaction that records its operation.
type shop struct {
	*httptest.Server
	db   *sql.DB
	hold chan struct{} // requests with X-Hold wait for it before anything else
	late chan int      // statuses of those
}

func newShop(t *testing.T) *shop {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "shop.db")+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	for _, schema := range []string{participant.SQLiteSchema, "CREATE TABLE orders (operation TEXT, attempt INTEGER)"} {
		if _, err := db.ExecContext(t.Context(), schema); err != nil {
			t.Fatal(err)
		}
	}
	s := &shop{db: db, hold: make(chan struct{}), late: make(chan int, 1)}
	operations := participant.SQL(db, participant.SQLite)
	mux := http.NewServeMux()
	mux.Handle("GET /operations/{operation}", operations.Probe())
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(context.WithoutCancel(r.Context())) // who left may be the one who knows of it
		held := r.Header.Get("X-Hold") != ""
		if held {
			<-s.hold
		}
		answer := httptest.NewRecorder()
		operations.Serve(answer, r, func(ctx context.Context, tx *sql.Tx) (*idempotency.Response, error) {
			_, err := tx.ExecContext(ctx, "INSERT INTO orders VALUES (?, ?)", r.Header.Get("Onceway-Operation"), r.Header.Get("Onceway-Attempt"))
			return idempotency.NewResponse(201, map[string][]string{"Location": {"/orders/1"}}, []byte("ordered")), err
		})
		if held {
			s.late <- answer.Code
		}
		if r.Header.Get("X-Cut") != "" {
			panic(http.ErrAbortHandler)
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		db.Close()
	})
	return s
}

func (s *shop) orders(t *testing.T) (n int) {
	t.Helper()
	if err := s.db.QueryRowContext(t.Context(), "SELECT count(*) FROM orders").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *shop) gateway(t *testing.T, dsn, upstream string) *rig.Gateway {
	return rig.Serve(t, rig.Config{
		Store: dsn, Targets: []string{s.URL}, Upstream: upstream,
		Policy: probing(s.URL+"/operations/{operation}", ", absence: fenced"),
	})
}

// With a backend that takes part, a lost answer is found again, byte for byte, without anybody's help.
func TestParticipantResolvesALostAnswer(t *testing.T) {
	t.Parallel()
	rig.EachStore(t, func(t *testing.T, dsn string) {
		s := newShop(t)
		g := s.gateway(t, dsn, "")
		r := rig.Request{Key: newKey(), Body: "a", Header: rig.Header("X-Cut", "yes")}
		g.Do(t, r).Is(t, doubted)
		wantState(t, g, r.Key, "completed", 1)
		a := g.Do(t, r)
		a.Is(t, with(replayed, 201))
		if a.Body != "ordered" || a.Header.Get("Location") != "/orders/1" || a.Header.Get("Idempotency-Resolved") != "probe" {
			t.Errorf("%v\n%s", a.Header, a.Body)
		}
		if n := s.orders(t); n != 1 {
			t.Errorf("%d orders", n)
		}
	})
}

// What had not been executed when the backend was asked never will be: the retry executes, once.
func TestParticipantRefusesALateAttempt(t *testing.T) {
	t.Parallel()
	rig.EachStore(t, func(t *testing.T, dsn string) {
		s := newShop(t)
		g := s.gateway(t, dsn, "timeout: 3s, connect_timeout: 3s") // the second attempt is to be answered within that
		r, a := inTime(t, g, nil, func() rig.Request {
			return rig.Request{Key: newKey(), Body: "a", Header: rig.Header("X-Hold", "yes")}
		})
		a.Is(t, timedOut)
		wantState(t, g, r.Key, "not_executed", 1)
		r.Header = nil
		g.Do(t, r).Is(t, with(executed, 201))
		close(s.hold)
		if status := <-s.late; status == 201 {
			// The recorded answer would do as well, but not a second order.
			t.Log("the late attempt was answered from the record")
		}
		if n := s.orders(t); n != 1 {
			t.Errorf("%d orders", n)
		}
		wantState(t, g, r.Key, "completed", 2)
	})
}
