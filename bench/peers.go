package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// newProxy is peer (a): Go's reverse proxy with nothing behind it but the backend, as the standard library
// makes it. Of its transport only that is changed without which it would dial for most requests: it keeps
// a connection to the backend for every connection from a client.
func newProxy(backendAddr string) *httputil.ReverseProxy {
	target := &url.URL{Scheme: "http", Host: backendAddr}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
		Transport: &http.Transport{
			MaxIdleConns:        0, // no limit
			MaxIdleConnsPerHost: 1024,
			DisableCompression:  true,
		},
		ErrorLog: log.Default(),
	}
}

// newTuned is the same with what few people know of, and what it gains most by: pooled copy buffers.
func newTuned(backendAddr string) *httputil.ReverseProxy {
	p := newProxy(backendAddr)
	p.BufferPool = &copyBuffers{}
	return p
}

// copyBuffers spares the proxy 32 KiB of garbage for each response.
type copyBuffers struct{ pool sync.Pool }

func (c *copyBuffers) Get() []byte {
	if b, ok := c.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

func (c *copyBuffers) Put(b []byte) { c.pool.Put(&b) }

// middleware is peer (b): the same proxy behind the idempotency middleware that one finds in blog
// posts and libraries. One INSERT claims the key, one UPDATE stores the response; each is a statement
// of its own on a pooled connection. A record that is claimed and not answered refuses for ever:
// the peer is measured, not recommended.
type middleware struct {
	pool *pgxpool.Pool
	next http.Handler
}

const (
	createTable = `create table if not exists idempotency_keys (
	key         text primary key,
	fingerprint bytea not null,
	created     timestamptz not null default now(),
	status      int,
	header      bytea,
	body        bytea
)`
	claimKey      = `insert into idempotency_keys (key, fingerprint) values ($1, $2) on conflict do nothing`
	storeResponse = `update idempotency_keys set status = $2, header = $3, body = $4 where key = $1`
	findResponse  = `select fingerprint, status, header, body from idempotency_keys where key = $1`
)

func newMiddleware(ctx context.Context, dsn string, connections int, next http.Handler) (*middleware, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = int32(connections)
	cfg.MinConns = int32(connections)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if _, err := pool.Exec(ctx, createTable); err != nil {
		pool.Close()
		return nil, err
	}
	return &middleware{pool: pool, next: next}, nil
}

func (m *middleware) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	if r.Method != http.MethodPost || key == "" {
		m.next.ServeHTTP(w, r)
		return
	}
	if err := m.protect(w, r, key); err != nil {
		log.Print(err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// protect writes nothing to w if it returns an error.
func (m *middleware) protect(w http.ResponseWriter, r *http.Request, key string) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	fingerprint := sha256.Sum256(body)
	tag, err := m.pool.Exec(r.Context(), claimKey, key, fingerprint[:])
	if err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return m.replay(w, r, key, fingerprint)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := recorder{header: make(http.Header), status: http.StatusOK}
	m.next.ServeHTTP(&answer, r)
	fields, err := json.Marshal(answer.header)
	if err != nil {
		return fmt.Errorf("encode header: %w", err)
	}
	if _, err := m.pool.Exec(r.Context(), storeResponse, key, answer.status, fields, answer.body.Bytes()); err != nil {
		return fmt.Errorf("store response: %w", err)
	}
	write(w, answer.status, answer.header, answer.body.Bytes())
	return nil
}

func (m *middleware) replay(w http.ResponseWriter, r *http.Request, key string, fingerprint [32]byte) error {
	var stored, fields, body []byte
	var status *int
	err := m.pool.QueryRow(r.Context(), findResponse, key).Scan(&stored, &status, &fields, &body)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("find response: %w", err)
	}
	switch {
	case status == nil:
		http.Error(w, "in progress", http.StatusConflict)
		return nil
	case !bytes.Equal(stored, fingerprint[:]):
		http.Error(w, "key was used for another request", http.StatusUnprocessableEntity)
		return nil
	}
	header := make(http.Header)
	if err := json.Unmarshal(fields, &header); err != nil {
		return fmt.Errorf("decode header: %w", err)
	}
	w.Header().Set("Idempotent-Replayed", "true")
	write(w, *status, header, body)
	return nil
}

func write(w http.ResponseWriter, status int, header http.Header, body []byte) {
	for name, values := range header {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // the client has left; there is nobody to tell
}

// recorder is a ResponseWriter that keeps the answer until it has been stored.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorder) WriteHeader(status int)      { r.status = status }
