package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/postgres"
	"github.com/onceway/onceway/idempotency/sqlite"
	"github.com/onceway/onceway/migrations"
)

// recordStore is everything that a gateway asks of its store.
type recordStore interface {
	idempotency.Store
	idempotency.AskStore
	idempotency.LeaseStore
	idempotency.RetentionStore
	idempotency.CensusStore
	idempotency.OwnStore
	idempotency.SpoolStore
	idempotency.InstanceStore
	idempotency.SearchStore
	idempotency.FeedStore
	idempotency.ProbeStore
	// Identity is a text that no other store has: a spool is bound to it.
	Identity(ctx context.Context) (string, error)
	Close() error
}

// openedStore is a store that is ready, and what start-up says about it.
type openedStore struct {
	recordStore
	title  string // without credentials
	schema uint
	// committer is how many batches the store takes at once, and whether claims share them with outcomes.
	committer idempotency.CommitterOptions
}

// clockGrace is how much longer than its expiry a record is kept, in whichever store: the clock that purges it may
// be ahead by as much of the one that judges its key's age, another's or itself at another time, without the key
// being executed again.
const clockGrace = 24 * time.Hour

// openStore checks or migrates the schema, and opens the store. The error has exit code 4.
func openStore(ctx context.Context, c *config.Config, migrate bool, changed func(former, now string)) (*openedStore, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	dsn, err := resolvedStore(c.Store)
	if err != nil {
		return nil, err
	}
	path, embedded := strings.CutPrefix(dsn, "sqlite:")
	if embedded || migrate {
		if err := migrations.Up(ctx, dsn); err != nil {
			return nil, storeFailure(err)
		}
	}
	if err := migrations.Check(ctx, dsn); err != nil {
		return nil, storeFailure(err)
	}
	schema, err := migrations.Status(ctx, dsn)
	if err != nil {
		return nil, storeFailure(err)
	}
	opened := &openedStore{title: storeTitle(c.Store), schema: schema.Current}
	opened.committer.Timeout = c.StoreTimeout
	if embedded {
		opened.committer.OneLane, opened.committer.Flushers, opened.committer.MaxBatch = true, 1, 256
		opened.recordStore, err = sqlite.Open(ctx, path, sqlite.Options{Lease: c.Lease, Clock: wallClock, Grace: clockGrace, CompactEvery: choresEvery})
	} else {
		opened.committer.Flushers = 4
		opened.recordStore, err = openPostgres(ctx, c, changed)
	}
	if err != nil {
		return nil, storeFailure(err)
	}
	return opened, nil
}

func openPostgres(ctx context.Context, c *config.Config, changed func(former, now string)) (recordStore, error) {
	store, err := postgres.Open(ctx, c.Store, postgres.Options{
		StoreTimeout: c.StoreTimeout, Lease: c.Lease, Retention: c.Retention, Grace: clockGrace, WalkEvery: c.Lease / 3, ChoresEvery: choresEvery,
		Changed: changed,
		Tracer:  otelpgx.NewTracer(otelpgx.WithDisableSQLStatementInAttributes(), otelpgx.WithDisableConnectionDetailsInAttributes()),
	})
	if err != nil {
		return nil, err
	}
	return closingStore{store}, nil
}

// closingStore gives Close the shape that io.Closer has.
type closingStore struct{ *postgres.Store }

func (s closingStore) Close() error {
	s.Store.Close()
	return nil
}

// resolvedStore names a file of SQLite by its one path: the lock on it is found by that. The error has exit code 4.
func resolvedStore(dsn string) (string, error) {
	path, embedded := strings.CutPrefix(dsn, "sqlite:")
	if !embedded {
		return dsn, nil
	}
	path, err := sqlite.Resolve(path)
	if err != nil {
		return "", storeFailure(err)
	}
	return "sqlite:" + path, nil
}

// storeTitle names a store without its credentials and parameters.
func storeTitle(dsn string) string {
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		return "SQLite " + path
	}
	c, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return "Postgres"
	}
	return fmt.Sprintf("Postgres %s:%d/%s", c.Host, c.Port, c.Database)
}

// readDSN says what the driver has against a Postgres DSN. The driver itself would quote it, and with it what may be a
// password.
func readDSN(dsn string) error {
	_, err := pgxpool.ParseConfig(dsn)
	if err == nil {
		return nil
	}
	if u, err := url.Parse(dsn); err == nil {
		for name := range u.Query() {
			without, rest := *u, u.Query()
			rest.Del(name)
			without.RawQuery = rest.Encode()
			if _, err := pgxpool.ParseConfig(without.String()); err == nil {
				return fmt.Errorf("is refused by the Postgres driver for its parameter %s", name)
			}
		}
	}
	return errors.New("is refused by the Postgres driver")
}

func storeFailure(err error) error { return &storeError{err} }
