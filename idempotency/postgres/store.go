package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency"
)

// Options of a store.
type Options struct {
	// StoreTimeout bounds every call, besides its context. Default 5 s.
	StoreTimeout time.Duration
	// Lease is how long a silent owner keeps its executing records. Default 10 s.
	Lease time.Duration
	// Retention tells Purge which days' storage to prepare and how old a record must be to be looked
	// at. Default: bodies 24 h, records 720 h.
	Retention idempotency.Retention
	// Grace is how much longer than its expiry a record is kept, because whoever judges the age of a key
	// does so by another clock: a record must not be gone before every gateway calls its key too old.
	// Default 0.
	Grace time.Duration
	// WalkEvery is how much time Sweep lets pass between two walks for overdue records, which may read
	// many rows; owners whose leases lapsed it looks for each time. Default 0: each time.
	WalkEvery time.Duration
	// ChoresEvery is how much time Purge lets pass between two looks at what seldom changes: the partitions of the
	// coming and of past days, and leases of long ago. Default 0: each time.
	ChoresEvery time.Duration
	// Changed is called when connections lead to another server than before, by system identifier and
	// timeline, as after a failover, and before anything is written there. What the former one had
	// committed may be missing. It is also called, with one name twice, when a store is opened less than a
	// lease after that: others may still be bringing back what is missing. It must not use the store. May
	// be nil.
	Changed func(former, now string)
	// Tracer sees every query. It must not keep arguments, which contain keys and bodies. May be nil.
	Tracer pgx.QueryTracer
}

// Store is a PostgreSQL store. It is safe for concurrent use.
type Store struct {
	claims   *pgxpool.Pool // claims and what belongs to them
	asks     *pgxpool.Pool // reads for those who only ask: they take no connection from those who execute
	outcomes *pgxpool.Pool // outcomes: they never wait for a connection behind claims
	leases   *pgxpool.Pool // one connection: a renewal waits for nobody
	timeout  time.Duration
	lease    time.Duration
	keep     idempotency.Retention
	grace    time.Duration
	walks    pace // of the walk for overdue records
	chores   pace // of Purge's looks at partitions and leases
	servers  identities

	partitioned atomic.Int32 // how many days had a partition of payloads, when that was looked at last

	retries atomic.Int32 // for how many more batches of claims retries are to be expected

	mu     sync.Mutex
	epochs map[[16]byte]int64 // the greatest that each instance of this process had; rows are purged
}

var (
	_ idempotency.Store          = (*Store)(nil)
	_ idempotency.AskStore       = (*Store)(nil)
	_ idempotency.LeaseStore     = (*Store)(nil)
	_ idempotency.RetentionStore = (*Store)(nil)
	_ idempotency.CensusStore    = (*Store)(nil)
	_ idempotency.ProbeStore     = (*Store)(nil)
	_ idempotency.SpoolStore     = (*Store)(nil)
	_ idempotency.InstanceStore  = (*Store)(nil)
	_ idempotency.OwnStore       = (*Store)(nil)
	_ idempotency.SearchStore    = (*Store)(nil)
	_ idempotency.FeedStore      = (*Store)(nil)
)

// defaultConns is used when the DSN has no pool_max_conns.
const defaultConns = 16

// Open connects to the server of a DSN (a URL or key=value pairs). pool_max_conns in it bounds all
// connections together, at least six, of which a quarter, at least two, is reserved for outcomes, a quarter, at
// least one, for those who only ask, and one for the lease. The schema is not checked here.
func Open(ctx context.Context, dsn string, o Options) (*Store, error) {
	if o.StoreTimeout <= 0 {
		o.StoreTimeout = 5 * time.Second
	}
	if o.Lease <= 0 {
		o.Lease = 10 * time.Second
	}
	if o.Retention.Response <= 0 {
		o.Retention.Response = 24 * time.Hour
	}
	if o.Retention.Key <= 0 {
		o.Retention.Key = 720 * time.Hour
	}
	config, err := parse(dsn, o)
	if err != nil {
		return nil, err
	}
	s := &Store{timeout: o.StoreTimeout, lease: o.Lease, keep: o.Retention, grace: o.Grace, walks: pace{every: o.WalkEvery}, chores: pace{every: o.ChoresEvery}, epochs: map[[16]byte]int64{}}
	s.servers.lease, s.servers.tell = o.Lease, o.Changed
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		if err := prepare(ctx, c); err != nil {
			return err
		}
		return s.servers.notice(ctx, c)
	}
	outcomes, asks := max(2, config.MaxConns/4), max(1, config.MaxConns/4)
	for _, p := range []struct {
		pool  **pgxpool.Pool
		conns int32
	}{
		{&s.claims, max(2, config.MaxConns-outcomes-asks-1)},
		{&s.asks, asks},
		{&s.outcomes, outcomes},
		{&s.leases, 1},
	} {
		c := config.Copy()
		c.MaxConns = p.conns
		c.MinConns = min(c.MinConns, p.conns)
		c.MinIdleConns = min(c.MinIdleConns, p.conns)
		if *p.pool, err = open(ctx, c, s.timeout); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// farewell is how long Close waits. The driver itself takes fifteen seconds to give a connection up on which a call
// got no answer.
const farewell = time.Second

// Close waits for running calls and closes all connections, but never waits for long: a server that does not answer
// must not keep a process from ending.
func (s *Store) Close() {
	var pools sync.WaitGroup
	for _, pool := range []*pgxpool.Pool{s.claims, s.asks, s.outcomes, s.leases} {
		if pool != nil {
			pools.Go(pool.Close)
		}
	}
	closed := make(chan struct{})
	go func() {
		pools.Wait()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(farewell):
	}
}

func parse(dsn string, o Options) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The driver's error quotes the DSN, and cannot always tell where its password is.
		return nil, errors.New("the Postgres DSN cannot be parsed; " +
			"it must look like postgres://user:password@host:5432/database?sslmode=require or host=… user=… dbname=…")
	}
	c := config.ConnConfig
	c.Tracer = o.Tracer
	c.OnNotice = noteUnreplicated
	c.OnPgError = keepConnection
	c.ValidateConnect = refuseReadOnly
	c.ConnectTimeout = min(c.ConnectTimeout, o.StoreTimeout)
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = o.StoreTimeout
	}
	if !strings.Contains(dsn, "pool_max_conns") {
		config.MaxConns = defaultConns
	}
	config.PingTimeout = min(time.Second, o.StoreTimeout)
	return config, nil
}

func open(ctx context.Context, config *pgxpool.Config, timeout time.Duration) (*pgxpool.Pool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err == nil {
		if err = pool.Ping(ctx); err == nil {
			return pool, nil
		}
		pool.Close()
	}
	var readOnly *readOnlyError
	if errors.As(err, &readOnly) {
		return nil, readOnly
	}
	return nil, fmt.Errorf("connecting to Postgres: %w", clean(err))
}

// readOnlyError says that a server takes no writes.
type readOnlyError struct{ why string }

func (e *readOnlyError) Error() string {
	return "the Postgres server is read-only: " + e.why + "; Onceway needs the primary"
}

// refuseReadOnly keeps every connection off replicas, also after a failover. (With several hosts in
// the DSN the next one is tried.)
func refuseReadOnly(ctx context.Context, c *pgconn.PgConn) error {
	const query = `SELECT CASE WHEN pg_is_in_recovery() THEN 'it is a replica'
		WHEN current_setting('default_transaction_read_only') = 'on' THEN 'default_transaction_read_only is on' ELSE '' END`
	result := c.ExecParams(ctx, query, nil, nil, nil, nil).Read()
	if result.Err != nil {
		return result.Err
	}
	if len(result.Rows) != 1 || len(result.Rows[0]) != 1 {
		return errors.New("no answer to the question whether the server is read-only")
	}
	if why := string(result.Rows[0][0]); why != "" {
		return &readOnlyError{why}
	}
	return nil
}
