package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/onceway/onceway/client"
)

// shop stands for a gateway, with a backend behind it.
func shop() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Idempotency-State", "executed")
		w.Header().Set("Idempotency-Next", "done")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "order 1")
	}))
}

func Example() {
	server := shop()
	defer server.Close()
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	outbox, err := client.OpenDir(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer outbox.Close()
	c, err := client.New(client.Options{
		Outbox:    outbox,
		Authorize: func(r *http.Request, again bool) error { r.Header.Set("Authorization", "Bearer token"); return nil },
	})
	if err != nil {
		log.Fatal(err)
	}

	// What the last process left: asked for first, then settled. Do it again whenever the network is back.
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	err = c.Resume(ctx, func(r client.Result) error {
		fmt.Println("settled:", r.Entry.Key, r.Outcome)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	// One intent. However often it has to be sent, it is executed once.
	req, err := http.NewRequestWithContext(ctx, "POST", server.URL+"/orders", strings.NewReader(`{"item":"tea"}`))
	if err != nil {
		log.Fatal(err)
	}
	resp, err := (&http.Client{Transport: c}).Do(req)
	var unsettled *client.UnsettledError
	if errors.As(err, &unsettled) {
		return // it is in the outbox: tell the user that it is being checked, and Resume later
	}
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(answer))
	// Output: 201 order 1
}
