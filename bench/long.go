package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// records compares fresh POSTs on a store that holds many records with fresh POSTs on an empty one, both
// on the same server. The records are as old as if they had come evenly for 33 days, so that with the
// default retention of 30 a tenth of them waits to be removed, and the gateway removes them all the while.
func records(ctx context.Context, o options) error {
	fmt.Fprintf(os.Stderr, "%d records, %d rounds: about %v\n", o.records, o.rounds,
		(time.Duration(o.records)*25*time.Microsecond + time.Duration(2*o.rounds)*(o.duration+o.warmUp+time.Second) + 20*time.Second).Round(10*time.Second))
	f, r, err := begin(ctx, o, nil)
	if err != nil {
		return err
	}
	defer f.end()
	if err := f.startDatabase(ctx, r); err != nil {
		return err
	}
	if f.targets[emptyStore], err = f.oncewayOnPostgres(ctx, settings{name: "empty"}); err != nil {
		return err
	}
	full := settings{name: "full", store: f.postgres.dsn("onceway_full")}
	if f.targets[fullStore], err = f.oncewayOnPostgres(ctx, full); err != nil {
		return err
	}
	// One real request gives the record that is multiplied; its gateway is away meanwhile.
	l := f.load(cell{fullStore, prime, 1})
	l.Keys = keySet{Millis: time.Now().UnixMilli(), Seed: 1, Count: 1}
	if _, err := f.generate(ctx, l); err != nil {
		return err
	}
	f.targets[fullStore].stop()
	filled := time.Now()
	if err := f.multiply(ctx, o.records); err != nil {
		return fmt.Errorf("fill the store: %w", err)
	}
	fmt.Fprintf(os.Stderr, "the store was filled in %v\n", time.Since(filled).Round(time.Second))
	if f.targets[fullStore], err = f.onceway(ctx, full); err != nil {
		return err
	}
	r.Method = fmt.Sprintf("%d records; %d rounds of %v for each after %v of warm-up, interleaved, own generator", o.records, o.rounds, o.duration, o.warmUp)
	plan := [][]cell{{{emptyStore, fresh, 64}, {fullStore, fresh, 64}}}
	due, err := f.countDue(ctx)
	if err != nil {
		return err
	}
	for round := range o.rounds {
		if err := f.measureAll(ctx, rotate(plan, round), fmt.Sprintf("round %d/%d", round+1, o.rounds), round, r); err != nil {
			return err
		}
		left, err := f.countDue(ctx)
		if err != nil {
			return err
		}
		r.note("records removed by retention", []figure{{Name: "removed in a round", Value: float64(due - left)}, {Name: "left to be removed", Value: float64(left)}})
		due = left
	}
	return r.finish(plan, o.json)
}

// aged is what differs between the copies of a record. age is how long ago the copy came.
var aged = map[string]string{
	"id": "copy.id", "attempt_id": "copy.id", "key": "copy.id::text",
	"first_seen": "now() - age", "claimed_at": "now() - age", "deadline": "now() - age + interval '30 seconds'", "settled_at": "now() - age",
	"body_expires": "now() - age + interval '1 day'", "expires": "now() - age + interval '30 days'",
}

// multiply copies the one record of the full store, and its payload into those that are young enough to
// have one. Columns that it does not know are copied as they are.
func (f *farm) multiply(ctx context.Context, n int) error {
	conn, err := pgx.Connect(ctx, f.postgres.dsn("onceway_full"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	columns := func(table string, known map[string]string) (string, error) {
		rows, err := conn.Query(ctx, "select column_name::text from information_schema.columns where table_name = $1 order by ordinal_position", table)
		if err != nil {
			return "", err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for i, name := range names {
			if names[i] = known[name]; names[i] == "" {
				names[i] = "one." + name
			}
		}
		return strings.Join(names, ", "), err
	}
	requests, err := columns("requests", aged)
	if err != nil {
		return err
	}
	payloads, err := columns("payloads", map[string]string{"id": "copy.id", "attempt_id": "copy.id"})
	if err != nil {
		return err
	}
	const copies = "(select md5(i::text)::uuid as id, interval '33 days' * (1 - i / $1::integer::float8) as age from generate_series(1, $1::integer) i) as copy"
	for _, statement := range []string{
		"insert into requests select " + requests + " from (select * from requests limit 1) one, " + copies,
		"insert into payloads select " + payloads + " from (select * from payloads limit 1) one, " + copies + " where age < interval '1 day'",
	} {
		if _, err := conn.Exec(ctx, statement, n); err != nil {
			return err
		}
	}
	for _, statement := range []string{"update walks set claimed_at = '-infinity'", "vacuum analyze requests", "vacuum analyze payloads", "checkpoint"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// countDue returns how many records in the full store wait to be removed.
func (f *farm) countDue(ctx context.Context) (int, error) {
	return f.postgres.count(ctx, "onceway_full", "select count(*) from requests where claimed_at < now() - interval '30 days' and expires < now()")
}

// soakWindows is how many times soak looks.
const soakWindows = 20

// soak lets requests arrive at one rate for a long time, so that records expire as fast as they come, and
// prints what stays flat if retention keeps up: latencies and the size of the tables.
func soak(ctx context.Context, o options) error {
	fmt.Fprintf(os.Stderr, "%v at %g/s: about %v\n", o.duration, o.rate, (o.duration + 20*time.Second).Round(10*time.Second))
	f, r, err := begin(ctx, o, nil)
	if err != nil {
		return err
	}
	defer f.end()
	if err := f.startDatabase(ctx, r); err != nil {
		return err
	}
	if f.targets[oncewayPostgres], err = f.oncewayOnPostgres(ctx, settings{name: "soak", retention: o.retention}); err != nil {
		return err
	}
	r.Method = fmt.Sprintf("open loop at %g/s, latencies from arrival, retention of %v, %d windows of %v", o.rate, o.retention, soakWindows, o.duration/soakWindows)
	f.warmUp, f.length = 0, o.duration/soakWindows
	var p99, size []float64
	for window := range soakWindows {
		c := cell{oncewayPostgres, fresh, 256}
		l := f.load(c)
		l.Rate = o.rate
		s, err := f.byOurselves(ctx, c, l)
		if err != nil {
			return err
		}
		rows, err := f.postgres.count(ctx, "onceway_soak", "select count(*) from requests")
		if err != nil {
			return err
		}
		bytes, err := f.postgres.count(ctx, "onceway_soak", "select sum(pg_total_relation_size(oid))::bigint from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace")
		if err != nil {
			return err
		}
		p99, size = append(p99, milliseconds(s.P99)), append(size, float64(bytes)/(1<<20))
		fmt.Fprintf(os.Stderr, "%2d/%d: p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, %d records, %.0f MiB\n",
			window+1, soakWindows, milliseconds(s.P50), p99[window], milliseconds(s.P999), rows, size[window])
		r.note("soak, every window", []figure{{Name: "p50", Unit: "ms", Value: milliseconds(s.P50)}, {Name: "p99", Unit: "ms", Value: p99[window]},
			{Name: "p99.9", Unit: "ms", Value: milliseconds(s.P999)}, {Name: "records stored", Value: float64(rows)}, {Name: "tables and indexes", Unit: "MiB", Value: size[window]}})
	}
	r.note("soak, the last quarter over the one before the middle", []figure{
		{Name: "p99", Unit: "×", Value: growth(p99), AtMost: 1.5}, {Name: "tables and indexes", Unit: "×", Value: growth(size), AtMost: 1.1}})
	return r.finish(nil, o.json)
}

// growth compares the median of the last quarter of values with that of the second one: in the first,
// nothing has expired yet.
func growth(values []float64) float64 {
	quarter := len(values) / 4
	return median(values[len(values)-quarter:]) / median(values[quarter:2*quarter])
}
