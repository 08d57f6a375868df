package postgres

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
	"github.com/onceway/onceway/internal/pgtest"
)

// eventually polls what another process does. It gives up long after any sane delay.
func eventually(t testing.TB, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen")
		}
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		code            string
		definite, again bool
	}{
		{"22001", true, false}, {"22P02", true, false}, {"23505", true, false}, {"23514", true, false},
		{"55P03", true, true}, {"40P01", true, true}, {"40001", true, true},
		{"57014", false, false}, {"57P01", false, false}, {"53100", false, false}, {"40003", false, false},
		{"08006", false, false}, {"25006", false, false}, {"XX000", false, false}, {"", false, false}, {"2", false, false},
	} {
		message := "m"
		if strings.HasPrefix(c.code, "22") {
			message = `invalid input: "secret"`
		}
		err := classify(&pgconn.PgError{Code: c.code, Message: message, Detail: "Key (caller, key)=(alice, secret)"})
		var rolledBack *idempotency.RolledBackError
		if got := errors.As(err, &rolledBack); got != c.definite || got && rolledBack.Blocked != c.again {
			t.Errorf("%q: %#v", c.code, err)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error quotes values: %v", c.code, err)
		}
		var raw *pgconn.PgError
		if errors.As(err, &raw) {
			t.Errorf("%q: the driver's error, with its detail, is still inside", c.code)
		}
	}
	if err := classify(io.ErrUnexpectedEOF); err != io.ErrUnexpectedEOF {
		t.Errorf("a broken connection became %v", err)
	}
}

func TestAForeignLockBlocksAndLeavesNoTrace(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	owner := newOwner(t, s)
	results := apply(t, s, newClaims(3, owner))
	tx, err := admin.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, err := tx.Exec(context.Background(), "SELECT FROM requests WHERE id = $1 FOR UPDATE", uuid(results[1].Record.ID)); err != nil {
		t.Fatal(err)
	}
	_, err = s.Apply(context.Background(), completions(results, []byte("x")))
	var rolledBack *idempotency.RolledBackError
	if !errors.As(err, &rolledBack) || !rolledBack.Blocked {
		t.Fatalf("error is %v", err)
	}
	if n := queryOne[int](t, admin, "SELECT count(*) FROM requests WHERE state = 2"); n != 0 {
		t.Errorf("%d records were completed", n)
	}
	if err := tx.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
	apply(t, s, completions(results, []byte("x")))
}

func TestRefusedValuesRollBackTheBatch(t *testing.T) {
	dsn := newDatabase(t)
	s := openStore(t, dsn)
	owner := newOwner(t, s)
	for name, spoil := range map[string]func(*idempotency.Claim){
		"NUL in the caller": func(c *idempotency.Claim) { c.Operation.Caller = "secret\x00" },
		"not UTF-8":         func(c *idempotency.Claim) { c.TargetURI = "/secret\xff" },
		"no key":            func(c *idempotency.Claim) { c.Operation.Key = "" },
		"a long key":        func(c *idempotency.Claim) { c.Operation.Key = idempotency.Key(strings.Repeat("secret", 50)) },
	} {
		t.Run(name, func(t *testing.T) {
			ts := newClaims(3, owner)
			bad := ts[1].(idempotency.Claim)
			spoil(&bad)
			ts[1] = bad
			_, err := s.Apply(context.Background(), ts)
			var rolledBack *idempotency.RolledBackError
			if !errors.As(err, &rolledBack) || rolledBack.Blocked {
				t.Fatalf("error is %v", err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error quotes a value: %v", err)
			}
			records, err := s.Find(context.Background(), []idempotency.OperationID{ts[0].Target(), ts[2].Target()})
			if err != nil || records[0].State != idempotency.Unseen || records[1].State != idempotency.Unseen {
				t.Errorf("something was written: %v", err)
			}
		})
	}
}

// A connection that dies at a bad moment leaves the outcome open; applying again must give the same.
func TestABatchIsAppliedAgainAfterItsConnectionDied(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	owner := newOwner(t, s)
	claims := newClaims(20, owner)
	stop := make(chan struct{})
	var killer sync.WaitGroup
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = admin.Exec(context.Background(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
					WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ 'requests' AND query !~ 'pg_terminate'`)
			}
		}
	})
	failures := 0
	insist := func(ts []idempotency.Transition) []idempotency.Result {
		for {
			results, err := s.Apply(context.Background(), ts)
			if err == nil {
				return results
			}
			failures++
		}
	}
	var answers []idempotency.Transition
	for failures < 5 {
		results := insist(claims)
		answers = completions(results, []byte("x"))
		insist(answers)
		claims = newClaims(20, owner)
	}
	close(stop)
	killer.Wait()
	t.Logf("%d batches failed", failures)
	for _, r := range insist(answers) {
		if !r.Applied || r.Record.State != idempotency.Completed || r.Record.Revision != 2 || r.Record.Response == nil {
			t.Errorf("%v applied %v, revision %d", r.Record.State, r.Applied, r.Record.Revision)
		}
	}
	if n := queryOne[int](t, admin, "SELECT count(*) FROM requests WHERE revision > 2 OR attempt <> 1"); n != 0 {
		t.Errorf("%d records moved twice", n)
	}
	if n := queryOne[int](t, admin, "SELECT (SELECT count(*) FROM requests WHERE state = 2) - (SELECT count(*) FROM payloads)"); n != 0 {
		t.Errorf("%d more answers than bodies", n)
	}
}

// A server that says nothing more, as behind a dead switch, must not hold a call beyond its timeout,
// nor its connection be used again.
func TestASilentServer(t *testing.T) {
	cluster := pgtest.NewCluster(t, pgtest.Config{TCP: true, Settings: map[string]string{"fsync": "off"}})
	migrate(t, cluster.DSN("postgres"))
	hole := newHole(t, cluster.TCPDSN("postgres"))
	s, err := Open(context.Background(), hole.dsn, Options{StoreTimeout: 3 * time.Second, Lease: storetest.Lease})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	owner := newOwner(t, s)
	claims := newClaims(5, owner)
	apply(t, s, newClaims(5, owner))
	hole.silence(true)
	_, err = s.Apply(context.Background(), claims)
	var rolledBack *idempotency.RolledBackError
	if err == nil || errors.As(err, &rolledBack) {
		t.Fatalf("error is %v, want one that leaves the outcome open", err)
	}
	hole.silence(false)
	eventually(t, func() bool {
		results, err := s.Apply(context.Background(), claims)
		return err == nil && results[0].Applied
	})

	// Nor does it keep a process from ending. The driver alone would say goodbye for 15 s.
	hole.silence(true)
	if _, err := s.Apply(context.Background(), newClaims(1, owner)); err == nil {
		t.Error("the server answers")
	}
	closed := make(chan struct{})
	go func() { defer close(closed); s.Close() }()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("closing waits for a server that says nothing")
		<-closed
	}
}

// hole is a TCP proxy that can stop forwarding without closing.
type hole struct {
	dsn  string
	mu   sync.Mutex
	gate chan struct{} // closed while bytes may pass
}

func newHole(t *testing.T, dsn string) *hole {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	at := strings.Index(dsn, "@")
	to, rest, _ := strings.Cut(dsn[at+1:], "/")
	h := &hole{dsn: dsn[:at+1] + l.Addr().String() + "/" + rest, gate: make(chan struct{})}
	close(h.gate)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			go h.pump(client, server)
			go h.pump(server, client)
		}
	}()
	t.Cleanup(func() { h.silence(false) })
	return h
}

func (h *hole) silence(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.gate:
		if on {
			h.gate = make(chan struct{})
		}
	default:
		if !on {
			close(h.gate)
		}
	}
}

func (h *hole) pump(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		h.mu.Lock()
		gate := h.gate
		h.mu.Unlock()
		<-gate
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A commit that its standby did not confirm may be lost in a failover: the outcome is open, and stays so
// when it is applied again and found to be there already. A standby that comes back confirms it.
func TestStoreAnUnreplicatedCommitIsNotDurable(t *testing.T) {
	cluster := pgtest.NewCluster(t, pgtest.Config{Settings: map[string]string{"fsync": "off"}})
	dsn := cluster.NewDatabase(t)
	migrate(t, dsn)
	s, admin := openStore(t, dsn), openAdmin(t, withParameter(dsn, "synchronous_commit=local"))
	owner := newOwner(t, s)
	claimed := apply(t, s, newClaims(4, owner))
	released := apply(t, s, newClaims(1, owner))
	apply(t, s, []idempotency.Transition{idempotency.Release{Attempt: released[0].Record.Attempt, Cause: "test", Retention: storetest.Keep}})
	waiting := func() int {
		return queryOne[int](t, admin, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	}
	cancelled := idempotency.Operation{Caller: "caller", Key: "never-seen"}
	lost := [2]idempotency.Claim{}
	for i, c := range newClaims(2, owner) {
		lost[i] = c.(idempotency.Claim)
		lost[i].Attempt.N = 1
	}
	answer := idempotency.NewResponse(200, nil, []byte("x"))
	moves := map[string][]idempotency.Transition{
		"claim":              newClaims(1, owner),
		"claim of a release": {idempotency.Claim{Attempt: idempotency.Attempt{Operation: released[0].Record.ID, ID: idempotency.NewAttemptID(), Owner: owner}, Operation: released[0].Record.Operation, Fingerprint: released[0].Record.Fingerprint, Budget: time.Minute, Retention: storetest.Keep}},
		"complete":           completions(claimed[:1], []byte("x")),
		"release":            {idempotency.Release{Attempt: claimed[1].Record.Attempt, Cause: "test", Retention: storetest.Keep}},
		"doubt":              {idempotency.Doubt{Attempt: claimed[2].Record.Attempt, Cause: "test", Retention: storetest.Keep}},
		"cancel":             {idempotency.Cancel{Operation: cancelled, Retention: storetest.Keep}},
		"import of a claim":  {idempotency.Import{Claim: lost[0], Evidence: "test"}},
		"import":             {idempotency.Import{Claim: lost[1], Response: answer, Evidence: "test"}},
	}
	execute(t, admin, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	execute(t, admin, "SELECT pg_reload_conf()")
	cancel := func() {
		eventually(t, func() bool {
			execute(t, admin, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			return waiting() == 0
		})
	}
	waiter, probes := openAdmin(t, dsn), make(chan struct{}, 1)
	eventually(t, func() bool { // the setting has come through when a commit waits
		select {
		case probes <- struct{}{}:
			go func() {
				_, _ = waiter.Exec(context.Background(), "UPDATE walks SET claimed_at = claimed_at")
				<-probes
			}()
		default:
		}
		return waiting() > 0
	})
	cancel()
	for name, ts := range moves {
		for try := range 3 {
			done := make(chan error, 1)
			go func() {
				_, err := s.Apply(context.Background(), ts)
				done <- err
			}()
			var err error
			eventually(t, func() bool {
				select {
				case err = <-done:
					return true
				default:
					return waiting() > 0
				}
			})
			if err != nil || waiting() == 0 {
				t.Errorf("%s: try %d did not wait for the standby: error %v", name, try, err)
				continue
			}
			cancel()
			if err := <-done; !errors.Is(err, errUnreplicated) {
				t.Errorf("%s: try %d: error is %v", name, try, err)
			}
		}
	}
	// A lease waits for no standby.
	if err := s.Renew(context.Background(), owner, storetest.Lease); err != nil {
		t.Errorf("renew: %v", err)
	}
	execute(t, admin, "ALTER SYSTEM RESET synchronous_standby_names")
	execute(t, admin, "SELECT pg_reload_conf()")
	for name, ts := range moves {
		if results, err := s.Apply(context.Background(), ts); err != nil || !results[0].Applied {
			t.Errorf("%s: once the standby is not asked for any more: %v, error %v", name, results, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dsn := newDatabase(t)
	for name, c := range map[string]struct{ dsn, want string }{
		"a read-only server": {withParameter(dsn, "default_transaction_read_only=on"), "read-only"},
		"a malformed URL":    {"postgres://user:hunter2@host:port/db", "cannot be parsed"},
		"a malformed list":   {"host=x password=hunter2 port=y", "cannot be parsed"},
		"a strange password": {"postgres://user:hunter2/@@host/db?sslmode=strange", "cannot be parsed"},
		"nobody there":       {"postgres://user:hunter2@127.0.0.1:1/db?sslmode=disable", "connecting to Postgres"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(context.Background(), c.dsn, Options{StoreTimeout: 5 * time.Second})
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestSynchronousCommitIsRaisedOnlyFromOff(t *testing.T) {
	dsn := newDatabase(t)
	for session, want := range map[string]string{"off": "on", "on": "on", "local": "local", "remote_apply": "remote_apply"} {
		admin := openAdmin(t, withParameter(dsn, "synchronous_commit="+session))
		tx, err := admin.Begin(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(context.Background(), settings); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := tx.QueryRow(context.Background(), "SHOW synchronous_commit").Scan(&got); err != nil || got != want {
			t.Errorf("%s became %s, error %v", session, got, err)
		}
		tx.Rollback(context.Background())
	}
}

// Bodies of more than one statement may carry still come back whole.
func TestLargeBatch(t *testing.T) {
	s := openStore(t, newDatabase(t))
	owner := newOwner(t, s)
	body := bytes.Repeat([]byte{0, 1, 0xfe}, 7<<20/3)
	results := apply(t, s, newClaims(6, owner))
	apply(t, s, completions(results, body))
	for _, r := range results {
		found, err := s.Find(context.Background(), []idempotency.OperationID{r.Record.ID})
		if err != nil || found[0].Response == nil || !bytes.Equal(found[0].Response.Body, body) {
			t.Fatalf("error %v, damaged %v", err, found[0].Damaged)
		}
	}
}

// After a restart of the server every connection in the pool is a broken one. A look is harmless to repeat, so
// nobody gets to hear of that.
func TestFindAfterAllSessionsEnded(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	ids := []idempotency.OperationID{{1}}
	const sessions = `FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`
	for range 5 {
		var looks sync.WaitGroup
		for range 8 {
			looks.Go(func() {
				if _, err := s.Find(context.Background(), ids); err != nil {
					t.Error(err)
				}
			})
		}
		looks.Wait()
		if _, err := admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid, 10000) "+sessions); err != nil {
			t.Fatal(err)
		}
	}
}

// A lease is given back although all connections were cut just before: a gateway that has drained ends well.
func TestGivingBackByABrokenConnection(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	owner := newOwner(t, s)
	if _, err := admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
		t.Fatal(err)
	}
	if err := s.GiveBack(t.Context(), owner); err != nil {
		t.Error(err)
	}
}
