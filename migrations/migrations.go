// Package migrations holds the schemas of both stores, embedded, and moves a store from one version
// to another.
//
// A store is named as everywhere in Onceway: "sqlite:PATH", or "postgres://…", whose DSN may carry
// pgx's own parameters (pool sizes, exec mode). On Postgres an advisory lock, on SQLite the lock of
// the store's file, lets one process migrate at a time; the second finds the work done. The advisory
// lock belongs to a session: through a pooler in transaction mode, migrate past the pooler.
//
// No error of this package contains a password.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/source/iofs"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// SchemaVersion is where a store's schema is, and where this program would take it.
type SchemaVersion struct {
	Current uint // 0: the store is empty, or not there yet
	Latest  uint // the newest that this program knows
	Dirty   bool // a migration to Current stopped half-way
}

// Up brings the store to the latest version, creating a SQLite file that is not there. It does nothing
// to a store that is there already; a dirty or newer one it refuses with a *SchemaError. When ctx
// ends, it stops after the migration under way.
func Up(ctx context.Context, dsn string) error {
	return move(ctx, dsn, func(m *migrate.Migrate, v SchemaVersion) error {
		err := m.Up()
		if errors.Is(err, migrate.ErrNoChange) {
			return nil
		}
		return err
	})
}

// Down takes back the last steps migrations, and with them all that is stored in what they drop: the
// first one's end is the end of every record, and of the protection they gave. It takes back all or,
// if there are fewer than steps, none.
func Down(ctx context.Context, dsn string, steps int) error {
	if steps < 1 {
		return errors.New("migrate down needs the number of steps, at least 1")
	}
	return move(ctx, dsn, func(m *migrate.Migrate, v SchemaVersion) error {
		if uint(steps) > v.Current {
			return fmt.Errorf("there are only %d migrations to take back", v.Current)
		}
		return m.Steps(-steps)
	})
}

// Status reads the version of a store's schema. It writes nothing, and creates nothing.
func Status(ctx context.Context, dsn string) (SchemaVersion, error) {
	t, err := parse(dsn)
	if err != nil {
		return SchemaVersion{}, err
	}
	return t.status(ctx)
}

// Check returns nil if the schema is what this program needs, and else a *SchemaError that says what
// to do, or an error of the store.
func Check(ctx context.Context, dsn string) error {
	v, err := Status(ctx, dsn)
	if err != nil {
		return err
	}
	return v.problem()
}

// move runs f on a store whose schema is not broken, and which nobody else migrates.
func move(ctx context.Context, dsn string, f func(*migrate.Migrate, SchemaVersion) error) error {
	t, err := parse(dsn)
	if err != nil {
		return err
	}
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	v, err := t.status(ctx)
	if err != nil {
		return err
	}
	var broken *SchemaError
	if errors.As(v.problem(), &broken) && (broken.Reason == Dirty || broken.Reason == Newer) {
		return broken
	}
	source, err := iofs.New(files, t.directory())
	if err != nil {
		return err
	}
	driver, err := t.driver(ctx)
	if err != nil {
		return errors.Join(err, source.Close())
	}
	m, err := migrate.NewWithInstance("iofs", source, t.directory(), driver)
	if err != nil {
		return errors.Join(err, source.Close(), driver.Close())
	}
	m.LockTimeout = lockTimeout
	stop := context.AfterFunc(ctx, func() { m.GracefulStop <- true }) // has room for one
	defer stop()
	err = f(m, v)
	sourceErr, driverErr := m.Close()
	if err = errors.Join(err, sourceErr, driverErr); err != nil {
		return fmt.Errorf("migrate %s: %w", t, err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("migrate %s: %w", t, ctx.Err())
	}
	return nil
}

// lockTimeout is how long one process waits for another's migration.
const lockTimeout = time.Minute

// latest returns the number of a directory's newest migration. They are numbered 1, 2, 3, …
func latest(directory string) uint {
	names, err := fs.Glob(files, directory+"/*.up.sql")
	if err != nil || len(names) == 0 {
		return 0
	}
	name := strings.TrimPrefix(slices.Max(names), directory+"/")
	number, _, _ := strings.Cut(name, "_")
	n, _ := strconv.ParseUint(number, 10, 32)
	return uint(n)
}
