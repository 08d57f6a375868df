package participant_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/participant"
)

type order struct{ Item string }

func read(r *http.Request) (o order, err error) { return o, json.NewDecoder(r.Body).Decode(&o) }

func place(ctx context.Context, tx pgx.Tx, o order) (*idempotency.Response, error) {
	var id int64
	if err := tx.QueryRow(ctx, "INSERT INTO orders (item) VALUES ($1) RETURNING id", o.Item).Scan(&id); err != nil {
		return nil, err
	}
	body := fmt.Appendf(nil, `{"id":%d}`, id)
	return idempotency.NewResponse(http.StatusCreated, map[string][]string{"Content-Type": {"application/json"}}, body), nil
}

func Example() { _ = backend }

// backend is what docs/backends.md shows; a test holds the page to it.
func backend(ctx context.Context, dsn string, mux *http.ServeMux) error {
	pool, err := pgxpool.New(ctx, dsn)  // tables: participant.PostgresSchema, in your migrations
	operations := participant.Pgx(pool) // or participant.SQL(db, participant.Postgres), participant.SQLite

	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		order, err := read(r) // before the transaction: whoever else asks waits for it
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		operations.Serve(w, r, func(ctx context.Context, tx pgx.Tx) (*idempotency.Response, error) {
			return place(ctx, tx, order) // everything in tx; an error rolls it back
		})
	})
	mux.Handle("GET /operations/{operation}", operations.Probe())
	return err
}
