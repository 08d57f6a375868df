package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/participant"
	"github.com/onceway/onceway/internal/pgtest"
)

func start(t *testing.T) string {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	created := make(chan error)
	for range 3 { // instances that start at once
		go func() { created <- createTables(t.Context(), pool) }()
	}
	for range 3 {
		if err := <-created; err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(newShop(pool, pool).handler())
	t.Cleanup(server.Close)
	return server.URL
}

func send(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func placed(t *testing.T, url string) (orders []order) {
	t.Helper()
	_, body := send(t, http.MethodGet, url+"/orders", "")
	if err := json.NewDecoder(bytes.NewReader([]byte(body))).Decode(&orders); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return orders
}

func TestOrders(t *testing.T) {
	url := start(t)
	const tea = `{"item":"tea","quantity":2}`
	operation := func() string { return idempotency.NewAttemptID().String() }
	if status, _ := send(t, http.MethodPost, url+"/orders", tea); status != 400 {
		t.Errorf("past the gateway: %d", status)
	}
	id := operation()
	if status, _ := send(t, http.MethodPost, url+"/orders", `{"item":"tea"}`, participant.HeaderOperation, id, participant.HeaderAttempt, "1"); status != 400 {
		t.Errorf("half an order: %d", status)
	}
	status, first := send(t, http.MethodPost, url+"/orders", tea, participant.HeaderOperation, id, participant.HeaderAttempt, "1")
	if status != 201 {
		t.Fatalf("%d %s", status, first)
	}
	if status, again := send(t, http.MethodPost, url+"/orders", tea, participant.HeaderOperation, id, participant.HeaderAttempt, "1"); status != 201 || again != first {
		t.Errorf("again: %d %s, first %s", status, again, first)
	}
	if status, body := send(t, http.MethodGet, url+"/operations/"+id, "", participant.HeaderOperation, id, participant.HeaderAttempt, "1"); status != 200 || !strings.Contains(body, `"executed"`) {
		t.Errorf("probed: %d %s", status, body)
	}

	fenced := operation()
	if status, _ := send(t, http.MethodGet, url+"/operations/"+fenced, "", participant.HeaderOperation, fenced, participant.HeaderAttempt, "1"); status != 404 {
		t.Errorf("probed: %d", status)
	}
	if status, _ := send(t, http.MethodPost, url+"/orders", tea, participant.HeaderOperation, fenced, participant.HeaderAttempt, "1"); status != 421 {
		t.Errorf("fenced: %d", status)
	}

	refused := operation()
	for range 2 {
		if status, _ := send(t, http.MethodPost, url+"/orders", `{"item":"tea","quantity":2000}`, participant.HeaderOperation, refused, participant.HeaderAttempt, "1"); status != 409 {
			t.Errorf("too many: %d", status)
		}
	}
	if status, body := send(t, http.MethodGet, url+"/operations/"+refused, "", participant.HeaderOperation, refused, participant.HeaderAttempt, "1"); status != 200 || !strings.Contains(body, `"status":409`) {
		t.Errorf("a recorded refusal is probed as %d %s", status, body)
	}
	if orders := placed(t, url); len(orders) != 1 || orders[0].Operation != id || orders[0].Attempt != 1 {
		t.Errorf("orders are %+v", orders)
	}
}
