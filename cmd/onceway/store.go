package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/exaring/otelpgx"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/postgres"
	"github.com/onceway/onceway/idempotency/sqlite"
	"github.com/onceway/onceway/migrations"
)

// recordStore is everything that a gateway asks of its store.
type recordStore interface {
	idempotency.Store
	idempotency.LeaseStore
	idempotency.RetentionStore
	idempotency.CensusStore
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

// openStore checks or migrates the schema, and opens the store. An error is one of exit code 4.
func openStore(ctx context.Context, c *config.Config, migrate bool) (*openedStore, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	embedded := strings.HasPrefix(c.Store, "sqlite:")
	var store recordStore
	var err error
	if embedded {
		// The file lock comes first: two processes must not even migrate one file.
		store, err = sqlite.Open(ctx, strings.TrimPrefix(c.Store, "sqlite:"), sqlite.Options{Lease: c.Lease})
	} else {
		if migrate {
			if err := migrations.Up(ctx, c.Store); err != nil {
				return nil, storeFailure(err)
			}
		}
		if err := migrations.Check(ctx, c.Store); err != nil {
			return nil, storeFailure(err)
		}
		store, err = postgres.Open(ctx, c.Store, postgres.Options{
			StoreTimeout: c.StoreTimeout, Lease: c.Lease, Retention: c.Retention,
			Tracer: otelpgx.NewTracer(otelpgx.WithDisableSQLStatementInAttributes(), otelpgx.WithDisableConnectionDetailsInAttributes()),
		})
	}
	if err != nil {
		return nil, storeFailure(err)
	}
	status, err := migrations.Status(ctx, c.Store)
	if err != nil {
		store.Close()
		return nil, storeFailure(err)
	}
	opened := &openedStore{recordStore: store, title: storeTitle(c.Store), schema: status.Current}
	opened.committer.Timeout = c.StoreTimeout
	if embedded {
		opened.committer.OneLane, opened.committer.Flushers, opened.committer.MaxBatch = true, 1, 256
	} else {
		opened.committer.Flushers = 2
	}
	return opened, nil
}

// storeTitle names a store without its credentials and parameters.
func storeTitle(dsn string) string {
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		return "SQLite " + path
	}
	return "Postgres " + postgres.Title(dsn)
}

func storeFailure(err error) error { return fmt.Errorf("store: %w", err) }
