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

// changes stands for the feed of a gateway, as server-sent events.
func changes() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Idempotency-State", "completed")
		fmt.Fprint(w, "id: c1\nevent: request\ndata: {\"key\":\"order-4711\",\"state\":\"completed\",\"revision\":2}\n\n")
		fmt.Fprint(w, "id: c2\nevent: sync\ndata: {\"caught_up\":true}\n\n")
	}))
}

func ExampleClient_Follow() {
	server := changes()
	defer server.Close()
	c, err := client.New(client.Options{})
	if err != nil {
		log.Fatal(err)
	}

	cursor := "" // as the last process kept it
	upToDate := errors.New("up to date")
	err = c.Follow(context.Background(), client.Feed{Gateway: server.URL, Since: cursor}, func(ch client.Change) error {
		switch ch.Event {
		case client.Changed:
			fmt.Println(ch.Record.Key, "is", ch.Record.State)
		case client.Reset:
			fmt.Println("forget what you have: all records follow")
		case client.Synced:
			if ch.CaughtUp {
				return upToDate // or go on: what changes is told as it happens
			}
		}
		cursor = ch.Cursor // keep it together with the record, in one transaction
		return nil
	})
	fmt.Println(err, "at", cursor)
	// Output:
	// order-4711 is completed
	// up to date at c1
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
