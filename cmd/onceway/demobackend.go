package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	_ "modernc.org/sqlite"
)

// crashHeader makes the demo backend die after it has executed an order and before it answers; delayHeader makes
// it answer so much later, at most half a minute.
const (
	crashHeader = "Demo-Crash"
	delayHeader = "Demo-Delay"
)

const inheritedFlag = "inherited-socket"

func newDemoBackendCommand() *cobra.Command {
	var address, ledger string
	var inherited bool
	cmd := &cobra.Command{
		Use:   "backend",
		Short: "Run the demo's order backend alone",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := listenForOrders(address, inherited)
			if err != nil {
				return err
			}
			return serveOrders(l, ledger)
		},
	}
	cmd.Flags().StringVar(&address, "listen", "127.0.0.1:9000", "address")
	cmd.Flags().BoolVar(&inherited, inheritedFlag, false, "take the socket that listens already, which is file descriptor 3")
	_ = cmd.Flags().MarkHidden(inheritedFlag)
	cmd.Flags().StringVar(&ledger, "ledger", "orders.db", "SQLite file that orders are booked in")
	return cmd
}

func listenForOrders(address string, inherited bool) (net.Listener, error) {
	if !inherited {
		return net.Listen("tcp", address)
	}
	const first = 3 // of the files that exec.Cmd hands on beside the standard ones
	socket := os.NewFile(first, address)
	defer socket.Close()
	return net.FileListener(socket)
}

// orders is an order backend as many are: it books what it gets, and deduplicates nothing.
type orders struct{ db *sql.DB }

func openOrders(ledger string) (*orders, error) {
	db, err := sql.Open("sqlite", "file:"+ledger+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS orders (
		id INTEGER PRIMARY KEY, item TEXT NOT NULL, quantity INTEGER NOT NULL, operation TEXT NOT NULL, attempt TEXT NOT NULL, booked TEXT NOT NULL) STRICT`)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("ledger %s: %w", ledger, err)
	}
	return &orders{db}, nil
}

func serveOrders(l net.Listener, ledger string) error {
	o, err := openOrders(ledger)
	if err != nil {
		return err
	}
	defer o.db.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", o.book)
	mux.HandleFunc("GET /orders", o.list)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	return server.Serve(l)
}

// order is what a client sends, with what the backend adds.
type order struct {
	ID        int64  `json:"id,omitempty"`
	Item      string `json:"item"`
	Quantity  int    `json:"quantity"`
	Operation string `json:"operation,omitempty"`
	Attempt   string `json:"attempt,omitempty"`
	Booked    string `json:"booked,omitempty"`
}

func (o *orders) book(w http.ResponseWriter, r *http.Request) {
	var in order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil || in.Item == "" || in.Quantity < 1 {
		http.Error(w, `an order is {"item":"…","quantity":1}`, http.StatusBadRequest)
		return
	}
	in.Operation, in.Attempt = r.Header.Get("Onceway-Operation"), r.Header.Get("Onceway-Attempt")
	in.Booked = time.Now().UTC().Format(time.RFC3339Nano)
	res, err := o.db.ExecContext(context.WithoutCancel(r.Context()),
		`INSERT INTO orders (item, quantity, operation, attempt, booked) VALUES (?, ?, ?, ?, ?)`,
		in.Item, in.Quantity, in.Operation, in.Attempt, in.Booked)
	if err == nil {
		in.ID, err = res.LastInsertId()
	}
	if err != nil {
		http.Error(w, "the order was not booked", http.StatusInternalServerError)
		return
	}
	if r.Header.Get(crashHeader) != "" {
		// As a power cut would: the order is booked, and nobody hears of it.
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		select {}
	}
	if delay, err := time.ParseDuration(r.Header.Get(delayHeader)); err == nil {
		time.Sleep(min(delay, 30*time.Second))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Location", fmt.Sprintf("/orders/%d", in.ID))
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(in)
}

func (o *orders) list(w http.ResponseWriter, r *http.Request) {
	all, err := o.all(r.Context())
	if err != nil {
		http.Error(w, "the ledger cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(all)
}

func (o *orders) all(ctx context.Context) (all []order, err error) {
	rows, err := o.db.QueryContext(ctx, `SELECT id, item, quantity, operation, attempt, booked FROM orders ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	all = []order{}
	for rows.Next() {
		var x order
		if err := rows.Scan(&x.ID, &x.Item, &x.Quantity, &x.Operation, &x.Attempt, &x.Booked); err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, rows.Err()
}
