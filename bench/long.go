package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// removable is the age at which the gateway removes a record: the default retention of keys, and a day for
// clocks that are slow.
const removable = 31 * 24 * time.Hour

// filling estimates how long it takes to store n copies of a record and its payload.
func filling(n int) time.Duration { return time.Duration(n) * 50 * time.Microsecond }

// records compares fresh POSTs on a store that holds many records with fresh POSTs on an empty one, both
// on the same server. The records are as old as if they had come evenly for 34 days: those of the first
// three are to be removed, and the gateway removes them all the while.
func records(ctx context.Context, o options) error {
	fmt.Fprintf(os.Stderr, "%d records, %d rounds: about %v\n", o.records, o.rounds,
		(filling(o.records) + time.Duration(2*o.rounds)*(o.duration+o.warmUp+time.Second) + 20*time.Second).Round(10*time.Second))
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
	oldest := removable + 3*24*time.Hour
	if err := f.startFilled(ctx, fullStore, o.records, oldest, 0); err != nil {
		return err
	}
	r.Method = fmt.Sprintf("%d records; %d rounds of %v for each after %v of warm-up, interleaved, own generator", o.records, o.rounds, o.duration, o.warmUp)
	groups := [][]cell{{{emptyStore, fresh, 64}, {fullStore, fresh, 64}}}
	due, err := f.countRemovable(ctx)
	if err != nil {
		return err
	}
	for round := range o.rounds {
		if err := f.measureAll(ctx, rotate(groups, round), fmt.Sprintf("round %d/%d", round+1, o.rounds), round, r); err != nil {
			return err
		}
		left, err := f.countRemovable(ctx)
		if err != nil {
			return err
		}
		r.note("records removed by retention", []figure{{Name: "removed in a round", Value: float64(due - left)}, {Name: "left to be removed", Value: float64(left)}})
		due = left
	}
	return r.finish(groups, o.json)
}

// countRemovable returns how many records in the full store wait to be removed.
func (f *farm) countRemovable(ctx context.Context) (int, error) {
	return f.postgres.count(ctx, "onceway_full", fmt.Sprintf("select count(*) from requests where claimed_at < now() - interval '%d seconds'", int(removable.Seconds())))
}

// startFilled starts t on a new database with n records whose ages are spread evenly between two bounds.
// They are copies of the record of a real request; the gateway is away while they are made.
func (f *farm) startFilled(ctx context.Context, t target, n int, oldest, youngest time.Duration) error {
	gateway, err := f.oncewayOnPostgres(ctx, settings{name: string(t)})
	if err != nil {
		return err
	}
	f.targets[t] = gateway
	l := f.load(cell{t, prime, 1})
	l.Keys = keySet{Millis: time.Now().UnixMilli(), Seed: 1, Count: 1}
	if _, err := f.generate(ctx, l); err != nil {
		return err
	}
	gateway.stop()
	begin := time.Now()
	if err := f.postgres.multiply(ctx, "onceway_"+string(t), n, oldest, youngest); err != nil {
		return fmt.Errorf("fill the store: %w", err)
	}
	fmt.Fprintf(os.Stderr, "the store was filled in %v\n", time.Since(begin).Round(time.Second))
	f.targets[t], err = f.onceway(ctx, settings{name: string(t), store: f.postgres.dsn("onceway_" + string(t))})
	return err
}

// copied is what differs between the copies of a record and of its payload; age is how long ago it came.
// Payloads stay in the partition of the one that is copied, so that there is something to remove with each
// record, and not with a partition.
var copied = map[string]string{
	"id": "copy.id", "attempt_id": "copy.id", "key": "copy.id::text",
	"first_seen": "now() - age", "claimed_at": "now() - age", "deadline": "now() - age + interval '30 seconds'", "settled_at": "now() - age",
	"body_expires": "now() - age + interval '1 day'", "expires": "now() - age + interval '30 days'",
}

// multiply copies the one record of a database and its payload. Columns that it does not know are copied
// as they are.
func (c *cluster) multiply(ctx context.Context, database string, n int, oldest, youngest time.Duration) error {
	conn, err := pgx.Connect(ctx, c.dsn(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, table := range []string{"requests", "payloads"} {
		rows, err := conn.Query(ctx, "select column_name::text from information_schema.columns where table_name = $1 order by ordinal_position", table)
		if err != nil {
			return err
		}
		columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for i, name := range columns {
			if columns[i] = copied[name]; columns[i] == "" {
				columns[i] = "one." + name
			}
		}
		copies := "(select md5(i::text)::uuid as id, make_interval(secs => $2::float8 + ($3::float8 - $2::float8) * (1 - i / $1::integer::float8)) as age from generate_series(1, $1::integer) i)"
		if _, err := conn.Exec(ctx, "insert into "+table+" select "+strings.Join(columns, ", ")+" from (select * from "+table+" limit 1) one, "+copies+" copy",
			n, youngest.Seconds(), oldest.Seconds()); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, "vacuum analyze "+table); err != nil {
			return err
		}
	}
	for _, statement := range []string{"update walks set claimed_at = '-infinity'", "checkpoint"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// soakWindows is how many times soak looks.
const soakWindows = 20

// soak lets requests arrive at one rate for a long time, while as many old records become removable, and
// prints what stays flat if retention keeps up: latencies, and the size of the tables.
func soak(ctx context.Context, o options) error {
	old := int(o.rate * o.duration.Seconds())
	fmt.Fprintf(os.Stderr, "%v at %g/s: about %v\n", o.duration, o.rate, (o.duration + filling(old) + 30*time.Second).Round(10*time.Second))
	f, r, err := begin(ctx, o, nil)
	if err != nil {
		return err
	}
	defer f.end()
	if err := f.startDatabase(ctx, r); err != nil {
		return err
	}
	if err := f.startFilled(ctx, fullStore, old, removable, removable-o.duration); err != nil {
		return err
	}
	r.Method = fmt.Sprintf("open loop at %g/s, latencies from arrival; %d records become removable meanwhile; %d windows of %v", o.rate, old, soakWindows, o.duration/soakWindows)
	f.warmUp, f.length = 0, o.duration/soakWindows
	var p99, size []float64
	for window := range soakWindows {
		c := cell{fullStore, fresh, 256}
		l := f.load(c)
		l.Rate = o.rate
		s, err := f.byOurselves(ctx, c, l)
		if err != nil {
			return err
		}
		rows, err1 := f.postgres.count(ctx, "onceway_full", "select count(*) from requests")
		bytes, err2 := f.postgres.count(ctx, "onceway_full", "select sum(pg_total_relation_size(oid))::bigint from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace")
		if err := errors.Join(err1, err2); err != nil {
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
// what has been removed is not yet reused.
func growth(values []float64) float64 {
	quarter := len(values) / 4
	return median(values[len(values)-quarter:]) / median(values[quarter:2*quarter])
}
