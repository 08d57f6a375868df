package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

var (
	identity          = statement("identity")
	identityOfCluster = statement("identity_of_cluster")
)

// Identity names the store whatever host or user a DSN has for it: the cluster, the database and the
// schema. A server that does not tell its cluster's number is named by the other two alone.
func (s *Store) Identity(ctx context.Context) (string, error) {
	name, err := s.name(ctx, identityOfCluster)
	var refused *Error
	if errors.As(err, &refused) {
		name, err = s.name(ctx, identity)
	}
	return "postgres:" + name, err
}

func (s *Store) name(ctx context.Context, query string) (name string, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, query).Scan(&name) })
	return name, clean(err)
}
