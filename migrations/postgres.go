package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

type postgres struct{ config *pgx.ConnConfig }

// parsePostgres reads the DSN as pgxpool does, which also knows the pool's parameters.
func parsePostgres(dsn string) (target, error) {
	pool, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The cause may quote the DSN.
		return nil, errors.New("the Postgres DSN cannot be read: it is postgres://USER:PASSWORD@HOST:PORT/DATABASE?…, with the special characters of a password percent-encoded")
	}
	config := pool.ConnConfig
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	return postgres{config}, nil
}

func (p postgres) String() string {
	return fmt.Sprintf("postgres://%s@%s:%d/%s", p.config.User, p.config.Host, p.config.Port, p.config.Database)
}

func (postgres) directory() string { return "postgres" }

// lock waits for those who migrate. The driver's own advisory lock comes too late: a schema that somebody is migrating
// looks dirty, and is refused before the driver is asked.
func (p postgres) lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, p.config)
	if err != nil {
		return nil, p.unreachable(err)
	}
	unlock = func() { conn.Close(context.Background()) } // the lock is the session's
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended('onceway migrates', 0))", pgx.QueryExecModeExec); err != nil {
		unlock()
		return nil, fmt.Errorf("migrate %s: waiting for another migration: %w", p, err)
	}
	return unlock, nil
}

func (p postgres) driver(ctx context.Context) (database.Driver, error) {
	db := stdlib.OpenDB(*p.config)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(p.unreachable(err), db.Close())
	}
	d, err := migratepgx.WithInstance(db, &migratepgx.Config{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("migrate %s: %w", p, err), db.Close())
	}
	return d, nil
}

func (p postgres) unreachable(err error) error { return fmt.Errorf("store %s: %w", p, err) }

func (p postgres) status(ctx context.Context) (v SchemaVersion, err error) {
	db := stdlib.OpenDB(*p.config)
	defer func() { err = errors.Join(err, db.Close()) }()
	v.Latest = latest(p.directory())
	var exists bool
	if err := db.QueryRowContext(ctx, `SELECT to_regclass('schema_migrations') IS NOT NULL`).Scan(&exists); err != nil {
		return v, p.unreachable(err)
	}
	if exists {
		err = scanVersion(db.QueryRowContext(ctx, `SELECT version, dirty FROM schema_migrations LIMIT 1`), &v)
	}
	if err != nil {
		return v, p.unreachable(err)
	}
	return v, nil
}

// scanVersion reads the one row of golang-migrate's table; after the last migration down it has none.
func scanVersion(row *sql.Row, v *SchemaVersion) error {
	var current int64 // -1 where the first migration stopped half-way on its way down
	err := row.Scan(&current, &v.Dirty)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	v.Current = uint(max(current, 0))
	return err
}
