// Command example-backend is an order backend that takes part: it keeps each order, and the operation
// that placed it, in one transaction of its own Postgres. With a gateway in front (on_unknown: probe,
// absence: fenced), killing the gateway, this process or the database at any point ends in exactly one
// order and a completed record.
//
//	example-backend --database postgres://shop@db/shop --listen 127.0.0.1:9000
//
// It is an example of the library's use: no authentication, one table.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency/participant"
)

func main() {
	address := flag.String("listen", "127.0.0.1:9000", "address")
	database := flag.String("database", os.Getenv("DATABASE_URL"), "Postgres DSN (default: DATABASE_URL)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *address, *database); err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}

// run serves until ctx is done, and then lets orders that are being placed finish.
func run(ctx context.Context, address, database string) error {
	pool, err := pgxpool.New(ctx, database)
	if err != nil {
		return err
	}
	defer pool.Close()
	// Probes have connections of their own: orders that wait for a lock must not keep them from being answered.
	probes, err := pgxpool.New(ctx, database)
	if err != nil {
		return err
	}
	defer probes.Close()
	if err := createTables(ctx, pool); err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := newShop(pool, probes)
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	purged := make(chan struct{})
	go func() { defer close(purged); s.purge(ctx) }()
	fmt.Printf("listening on http://%s\n", l.Addr())
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	<-purged
	finish, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return server.Shutdown(finish)
}

// retention: answers longer than the gateway's retention.response (24h), operations longer than twice its
// retention.key (720h).
var retention = participant.Retention{Response: 48 * time.Hour, Key: 1500 * time.Hour}

// purge forgets old operations, once an hour.
func (s *shop) purge(ctx context.Context) {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hourly.C:
		}
		if _, err := s.operations.Purge(ctx, retention); err != nil && !errors.Is(err, context.Canceled) {
			slog.Warn("purge", "error", err)
		}
	}
}
