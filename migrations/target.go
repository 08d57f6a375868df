package migrations

import (
	"context"
	"errors"
	"strings"

	"github.com/golang-migrate/migrate/v4/database"
)

// target is a store to migrate.
type target interface {
	String() string // for messages; without a password
	directory() string
	status(ctx context.Context) (SchemaVersion, error)
	driver(ctx context.Context) (database.Driver, error)
	// lock keeps other processes from migrating, where the driver does not do that itself.
	lock(ctx context.Context) (unlock func(), err error)
}

var errNoStore = errors.New("a store is named sqlite:PATH or postgres://…")

func parse(dsn string) (target, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch scheme {
	case "sqlite":
		if rest == "" {
			return nil, errNoStore
		}
		return sqliteFile(rest), nil
	case "postgres", "postgresql":
		return parsePostgres(dsn)
	default:
		return nil, errNoStore
	}
}
