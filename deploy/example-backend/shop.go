package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/participant"
)

//go:embed schema.sql
var schema string

// createTables makes what is not there. A real backend does this in its migrations.
func createTables(ctx context.Context, pool *pgxpool.Pool) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		// One instance at a time: CREATE TABLE IF NOT EXISTS fails when two of them race.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(1)"); err != nil {
			return err
		}
		// To create what is there would wait for every order that is being placed.
		var there bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass('onceway_operations') IS NOT NULL AND to_regclass('orders') IS NOT NULL").Scan(&there); there || err != nil {
			return err
		}
		_, err := tx.Exec(ctx, participant.PostgresSchema+schema)
		return err
	})
}

type shop struct {
	pool       *pgxpool.Pool
	operations *participant.Table[pgx.Tx]
	probes     *participant.Table[pgx.Tx]
}

func newShop(pool, probes *pgxpool.Pool) *shop {
	s := &shop{pool: pool, operations: participant.Pgx(pool), probes: participant.Pgx(probes)}
	report := func(ctx context.Context, err error) { slog.WarnContext(ctx, "outcome unknown", "error", err) }
	s.operations.Report, s.probes.Report = report, report
	return s
}

func (s *shop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", s.place)
	mux.HandleFunc("GET /orders", s.list)
	mux.Handle("GET /operations/{operation}", s.probes.Probe())
	return mux
}

type order struct {
	ID        int64     `json:"id"`
	Item      string    `json:"item"`
	Quantity  int       `json:"quantity"`
	Operation string    `json:"operation"`
	Attempt   int       `json:"attempt"`
	Placed    time.Time `json:"placed"`
}

const mostPerOrder = 1000

// place reads the order before the transaction begins, because other attempts and probes of the operation
// wait as long as that lasts.
func (s *shop) place(w http.ResponseWriter, r *http.Request) {
	var o order
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	if err := d.Decode(&o); err != nil || o.Item == "" || o.Quantity < 1 {
		http.Error(w, `an order is {"item": "tea", "quantity": 1}`, http.StatusBadRequest)
		return
	}
	a, err := participant.FromRequest(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.Operation, o.Attempt = a.Operation.String(), a.N
	s.operations.Serve(w, r, func(ctx context.Context, tx pgx.Tx) (*idempotency.Response, error) {
		// A refusal is recorded, too: the gateway keeps it as the answer, so it has to stay the answer.
		if o.Quantity > mostPerOrder {
			return reply(http.StatusConflict, map[string]string{"error": "not so many in stock"})
		}
		err := tx.QueryRow(ctx, "INSERT INTO orders (item, quantity, operation, attempt) VALUES ($1, $2, $3, $4) RETURNING id, placed",
			o.Item, o.Quantity, o.Operation, o.Attempt).Scan(&o.ID, &o.Placed)
		if err != nil {
			return nil, err
		}
		return reply(http.StatusCreated, o)
	})
}

func reply(status int, body any) (*idempotency.Response, error) {
	text, err := json.Marshal(body)
	return idempotency.NewResponse(status, map[string][]string{"Content-Type": {"application/json"}}, text), err
}

func (s *shop) list(w http.ResponseWriter, r *http.Request) {
	rows, err := s.pool.Query(r.Context(), "SELECT id, item, quantity, operation::text, attempt, placed FROM orders ORDER BY id")
	if err == nil {
		var orders []order
		if orders, err = pgx.CollectRows(rows, pgx.RowToStructByPos[order]); err == nil {
			w.Header().Set("Content-Type", "application/json")
			if orders == nil {
				orders = []order{}
			}
			err = json.NewEncoder(w).Encode(orders)
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		slog.Warn("list", "error", err)
		http.Error(w, "the orders cannot be read now", http.StatusInternalServerError)
	}
}
