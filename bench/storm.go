package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	stormClients = 2000 // that come back at one moment, as after a tunnel or a failed router
	stormKeys    = 12   // that each of them has in doubt
	stormRate    = 500  // new requests a second of others meanwhile
)

// probeStorm lets clients reconnect at one moment, each with a connection and one query of its own, while
// others' requests go on arriving.
func (f *farm) probeStorm(ctx context.Context) ([]figure, error) {
	c := cell{oncewayPostgres, fresh, 64}
	l := f.load(c)
	l.Rate = stormRate
	before, err := f.byOurselves(ctx, c, l)
	if err != nil {
		return nil, err
	}
	storm := make(chan error, 1)
	var took []time.Duration
	time.AfterFunc(l.WarmUp, func() {
		var err error
		took, err = f.storm(ctx, l.Addresses[0])
		storm <- err
	})
	l = f.load(c)
	l.Rate = stormRate
	during, err := f.byOurselves(ctx, c, l)
	if err = errors.Join(err, <-storm); err != nil {
		return nil, err
	}
	var all histogram
	for _, d := range took {
		all.record(d)
	}
	return []figure{
		{Name: "clients", Value: stormClients},
		{Name: "p50 of a client", Unit: "ms", Value: milliseconds(all.quantile(.5))},
		{Name: "until all know", Unit: "ms", Value: milliseconds(all.max)},
		{Name: "queries", Unit: "/s", Value: float64(len(took)) / all.max.Seconds()},
		{Name: "requests of others before, p50", Unit: "ms", Value: milliseconds(before.P50)},
		{Name: "requests of others before, p99", Unit: "ms", Value: milliseconds(before.P99)},
		{Name: "requests of others meanwhile, p50", Unit: "ms", Value: milliseconds(during.P50)},
		{Name: "requests of others meanwhile, p99", Unit: "ms", Value: milliseconds(during.P99)},
	}, nil
}

// storm returns how long after its begin each client knew what became of its requests.
func (f *farm) storm(ctx context.Context, addr string) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	keys := f.keys.keys()
	type result struct {
		took time.Duration
		err  error
	}
	results := make(chan result, stormClients)
	begin := time.Now()
	for i := range stormClients {
		go func() {
			var query struct {
				Keys []string `json:"keys"`
			}
			for k := range stormKeys {
				query.Keys = append(query.Keys, string(keys[(i*stormKeys+k)%len(keys)][:]))
			}
			err := ask(ctx, addr, query)
			results <- result{time.Since(begin), err}
		}()
	}
	var took []time.Duration
	var err error
	for range stormClients {
		r := <-results
		took = append(took, r.took)
		err = errors.Join(err, r.err)
	}
	return took, err
}

// ask sends a query over a connection of its own, and checks that it is answered for every key.
func ask(ctx context.Context, addr string, query any) error {
	content, err := json.Marshal(query)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/_reconcile/v1/query", bytes.NewReader(content))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var said struct {
		Records []json.RawMessage `json:"records"`
		Unseen  []string          `json:"unseen"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil || len(said.Records)+len(said.Unseen) != stormKeys {
		return fmt.Errorf("%s for a query, with %d records and %d unseen: %w", answer.Status, len(said.Records), len(said.Unseen), err)
	}
	return nil
}
