package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/idempotency"
)

// newBenchStore makes an empty store where the configured one is: on the same server, or on the same disk.
// It returns the configuration with that store, and what removes it.
func newBenchStore(ctx context.Context, c *config.Config) (own *config.Config, remove func() error, err error) {
	copied := *c
	own = &copied
	id := idempotency.NewAttemptID()
	name := fmt.Sprintf("onceway_bench_%x", id[:6])
	if path, embedded := strings.CutPrefix(c.Store, "sqlite:"); embedded {
		dir, err := os.MkdirTemp(filepath.Dir(path), name)
		if err != nil {
			return nil, nil, err
		}
		own.Store = "sqlite:" + filepath.Join(dir, "bench.db")
		return own, func() error { return os.RemoveAll(dir) }, nil
	}
	if own.Store, err = inSchema(c.Store, name); err != nil {
		return nil, nil, err
	}
	if err := onPostgres(ctx, c.Store, "CREATE SCHEMA "+name); err != nil {
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == "42501" { // insufficient_privilege
			return nil, nil, fmt.Errorf("measuring needs the privilege CREATE on the database, for a schema of its own: %w", err)
		}
		return nil, nil, err
	}
	remove = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if err := onPostgres(ctx, c.Store, "DROP SCHEMA "+name+" CASCADE"); err != nil {
			return fmt.Errorf("schema %s: %w", name, err)
		}
		return nil
	}
	// A pooler may ignore what a connection asks for, and then all of this would go to the store in use.
	if err := landsIn(ctx, own.Store, name); err != nil {
		return nil, nil, errors.Join(err, remove())
	}
	return own, remove, nil
}

// inSchema returns a DSN whose connections find the tables of one schema only.
func inSchema(dsn, schema string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("the Postgres DSN cannot be read as a URL")
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func onPostgres(ctx context.Context, dsn, statement string) error {
	conn, err := connectOnce(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, statement)
	return err
}

func landsIn(ctx context.Context, dsn, schema string) error {
	conn, err := connectOnce(ctx, dsn)
	if err != nil {
		return fmt.Errorf("connecting with search_path=%s (name the server itself in --store, not a pooler): %w", schema, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var current string
	if err := conn.QueryRow(ctx, "SELECT coalesce(current_schema(), '')").Scan(&current); err != nil {
		return err
	}
	if current != schema {
		return fmt.Errorf("the connection does not take search_path=%s: name the server itself in --store, not a pooler", schema)
	}
	return nil
}

// connectOnce is for one statement. The pool's parameters in the DSN are not for the server.
func connectOnce(ctx context.Context, dsn string) (*pgx.Conn, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("the Postgres DSN cannot be read as a URL")
	}
	q := u.Query()
	for name := range q {
		if strings.HasPrefix(name, "pool_") {
			q.Del(name)
		}
	}
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return pgx.Connect(ctx, u.String())
}

// benchBare measures durable commits of one short row at a time: what the server and its disk do at best.
func benchBare(ctx context.Context, dsn string, d time.Duration) (benchRow, error) {
	insert, end, err := bareInserter(ctx, dsn)
	if err != nil {
		return benchRow{}, err
	}
	took, elapsed, err := measure(ctx, 1, d, insert)
	row := rowOf(1, took, elapsed, 0)
	row.Commits = row.PerSecond
	return row, errors.Join(err, end())
}

func bareInserter(ctx context.Context, dsn string) (insert, end func() error, err error) {
	const table, row = `CREATE TABLE bare (id integer NOT NULL, body text NOT NULL)`, `INSERT INTO bare VALUES (1, 'a row, and nothing else')`
	if path, embedded := strings.CutPrefix(dsn, "sqlite:"); embedded {
		db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path + ".bare"}).EscapedPath()+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
		if err != nil {
			return nil, nil, err
		}
		db.SetMaxOpenConns(1)
		if _, err := db.ExecContext(ctx, table); err != nil {
			return nil, nil, errors.Join(err, db.Close())
		}
		return func() error { _, err := db.ExecContext(ctx, row); return err }, db.Close, nil
	}
	conn, err := connectOnce(ctx, dsn)
	if err != nil {
		return nil, nil, err
	}
	end = func() error { return conn.Close(context.WithoutCancel(ctx)) }
	if _, err := conn.Exec(ctx, table); err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return func() error { _, err := conn.Exec(ctx, row); return err }, end, nil
}
