package migrations

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/golang-migrate/migrate/v4/database"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"

	"github.com/onceway/onceway/idempotency/filelock"
)

type sqliteFile string

func (f sqliteFile) String() string { return "sqlite:" + string(f) }

func (sqliteFile) directory() string { return "sqlite" }

// open opens a file that exists; an absent one is not created.
func (f sqliteFile) open() (*sql.DB, error) {
	path, err := filepath.Abs(string(f))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// lock takes the lock that a gateway holds on its file, so that nobody changes the schema under a running one, and two
// migrations do not meet. It is not waited for: a gateway keeps it for days. Where there are no locks it does nothing:
// there the embedded store itself refuses to run.
func (f sqliteFile) lock(context.Context) (unlock func(), err error) {
	file, err := filelock.Take(string(f) + ".lock")
	var held *filelock.HeldError
	switch {
	case errors.As(err, &held):
		return nil, fmt.Errorf("store %s is %w; stop it before migrating", f, err)
	case errors.Is(err, filelock.ErrNoLocks):
		return func() {}, nil
	case err != nil:
		return nil, fmt.Errorf("store %s: %w", f, err)
	}
	return func() { _ = file.Close() }, nil
}

func (f sqliteFile) driver(context.Context) (database.Driver, error) {
	// For its owner only: it will hold callers' data.
	file, err := os.OpenFile(string(f), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", f, err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("store %s: %w", f, err)
	}
	db, err := f.open()
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", f, err)
	}
	d, err := migratesqlite.WithInstance(db, &migratesqlite.Config{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("migrate %s: %w", f, err), db.Close())
	}
	return d, nil
}

func (f sqliteFile) status(ctx context.Context) (v SchemaVersion, err error) {
	v.Latest = latest(f.directory())
	db, err := f.open()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return v, nil
	case err != nil:
		return v, fmt.Errorf("store %s: %w", f, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var exists bool
	err = db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'`).Scan(&exists)
	if err == nil && exists {
		err = scanVersion(db.QueryRowContext(ctx, `SELECT version, dirty FROM schema_migrations LIMIT 1`), &v)
	}
	if err != nil {
		return v, fmt.Errorf("store %s: %w", f, err)
	}
	return v, nil
}
