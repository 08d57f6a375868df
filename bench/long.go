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

// filling estimates how long it takes to store n copies of a record.
func filling(n int) time.Duration { return time.Duration(n) * 30 * time.Microsecond }

// records compares fresh POSTs on a store that holds many records with fresh POSTs on an empty one, both
// on the same server. The records are as old as if they had come evenly: for as long as they are kept, and for a
// backlog before that, the records of which the gateway removes while it answers. Only the gateway that is measured runs.
func records(ctx context.Context, o options) error {
	fmt.Fprintf(os.Stderr, "%d records, %d rounds: about %v\n", o.records, o.rounds,
		(filling(o.records) + time.Duration(2*o.rounds)*(o.duration+o.warmUp+5*time.Second) + 20*time.Second).Round(10*time.Second))
	f, r, err := begin(ctx, o, nil)
	if err != nil {
		return err
	}
	defer f.end()
	if err := f.startDatabase(ctx, r); err != nil {
		return err
	}
	empty, err := f.oncewayOnPostgres(ctx, settings{name: string(emptyStore)})
	if err != nil {
		return err
	}
	empty.stop()
	if err := f.fill(ctx, fullStore, o.records, removable+o.backlog, 0); err != nil {
		return err
	}
	r.Method = fmt.Sprintf("%d records, a backlog of %v; %d rounds of %v for each after %v of warm-up, interleaved, own generator, no other gateway running", o.records, o.backlog, o.rounds, o.duration, o.warmUp)
	cells := []cell{{emptyStore, fresh, 64}, {fullStore, fresh, 64}}
	for round := range o.rounds {
		for i := range cells {
			c := cells[(i+round)%len(cells)]
			if err := f.measureOnServer(ctx, c, fmt.Sprintf("round %d/%d", round+1, o.rounds), round, r); err != nil {
				return err
			}
		}
	}
	return r.finish([][]cell{cells}, o.json)
}

// measureOnServer starts a gateway for one cell, and notes what the cell cost the server besides.
func (f *farm) measureOnServer(ctx context.Context, c cell, where string, round int, r *report) error {
	database := "onceway_" + string(c.Target)
	due, err := f.countRemovable(ctx, database)
	if err != nil {
		return err
	}
	start, err := f.postgres.counters(ctx)
	if err != nil {
		return err
	}
	gateway, err := f.onceway(ctx, settings{name: string(c.Target), store: f.postgres.dsn(database)})
	if err != nil {
		return err
	}
	f.targets[c.Target] = gateway
	began := time.Now()
	if err := f.measureAll(ctx, []cell{c}, where, round, r); err != nil {
		return err
	}
	gateway.stop()
	elapsed := time.Since(began)
	used, err := f.postgres.counters(ctx)
	if err != nil {
		return err
	}
	left, err := f.countRemovable(ctx, database)
	if err != nil {
		return err
	}
	n := float64(r.Samples[len(r.Samples)-1].Answered)
	r.note(string(c.Target)+" store, what the server did for each request, retention included", []figure{
		{Name: "log (WAL)", Unit: "KiB", Value: (used.logged - start.logged) / n / 1024},
		{Name: "whole pages in the log", Value: (used.pages - start.pages) / n},
		{Name: "pages read from outside shared_buffers", Value: (used.read - start.read) / n}})
	if due > 0 {
		r.note("full store, records removed by retention", []figure{{Name: "removed a second", Value: float64(due-left) / elapsed.Seconds()},
			{Name: "left to be removed", Value: float64(left)}})
	}
	return nil
}

// counters is what a server has done since it began: bytes and whole pages that it logged, and pages that it
// read into its buffers.
type counters struct{ logged, pages, read float64 }

func (c *cluster) counters(ctx context.Context) (n counters, err error) {
	conn, err := pgx.Connect(ctx, c.dsn("postgres"))
	if err != nil {
		return n, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, "select wal_bytes::float8, wal_fpi::float8, (select sum(blks_read) from pg_stat_database)::float8 from pg_stat_wal").
		Scan(&n.logged, &n.pages, &n.read)
	return n, err
}

// countRemovable returns how many records of a store wait to be removed.
func (f *farm) countRemovable(ctx context.Context, database string) (int, error) {
	return f.postgres.count(ctx, database, fmt.Sprintf("select count(*) from requests where claimed_at < now() - interval '%d seconds'", int(removable.Seconds())))
}

// fill makes a new database of t's with n records whose ages are spread evenly between two bounds: copies of the
// record of a real request. Then no gateway is running.
func (f *farm) fill(ctx context.Context, t target, n int, oldest, youngest time.Duration) error {
	gateway, err := f.oncewayOnPostgres(ctx, settings{name: string(t)})
	if err != nil {
		return err
	}
	return f.fillWith(ctx, t, gateway, func() error { return f.postgres.multiply(ctx, "onceway_"+string(t), n, oldest, youngest) })
}

// fillWith sends one request to a gateway, stops it, and lets multiply copy what is then in its store.
func (f *farm) fillWith(ctx context.Context, t target, gateway *running, multiply func() error) error {
	f.targets[t] = gateway
	l := f.load(cell{t, prime, 1})
	l.Keys = keySet{Millis: time.Now().UnixMilli(), Seed: 1, Count: 1}
	if _, err := f.generate(ctx, l); err != nil {
		return err
	}
	gateway.stop()
	begin := time.Now()
	if err := multiply(); err != nil {
		return fmt.Errorf("fill the store: %w", err)
	}
	fmt.Fprintf(os.Stderr, "the store was filled in %v\n", time.Since(begin).Round(time.Second))
	return nil
}

// copied is what differs between the copies of a record and of its payload; came is when it came. Columns that
// are not named here are copied as they are.
var copied = map[string]string{
	"id": "copy.id", "attempt_id": "copy.id", "key": "copy.id::text",
	"first_seen": "came", "claimed_at": "came", "deadline": "came + interval '30 seconds'", "settled_at": "came + interval '10 ms'",
	"body_expires": "came + interval '1 day 10 ms'", "expires": "came + interval '30 days 10 ms'",
	"changed": "(xid + 1)::text::xid8", "day": "((came + interval '1 day 10 ms') at time zone 'UTC')::date",
}

// multiply copies the one record of a database, and all that belongs to it, as gateways would have left it that
// cleaned up until three days ago: the feed has two rows for each batch of eight, one of its claims and one of its
// answers; bodies of which the day was past by then are gone.
func (c *cluster) multiply(ctx context.Context, database string, n int, oldest, youngest time.Duration) error {
	conn, err := pgx.Connect(ctx, c.dsn(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	columns := func(table string) (string, error) {
		rows, err := conn.Query(ctx, "select column_name::text from information_schema.columns where table_name = $1 order by ordinal_position", table)
		if err != nil {
			return "", err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for i, name := range names {
			if names[i] = copied[name]; names[i] == "" {
				names[i] = "one." + name
			}
		}
		return strings.Join(names, ", "), err
	}
	record, err1 := columns("requests")
	payload, err2 := columns("payloads")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, statement := range []string{
		"set synchronous_commit = off",
		// Records name the transactions that wrote them, so there must have been as many.
		"create unlogged table used (i integer)",
		`create procedure use_transactions(n integer) language plpgsql as $$
			begin
				for i in 1..n loop
					begin insert into used values (i); exception when others then raise; end;
					if i % 20000 = 0 then commit; truncate used; end if;
				end loop;
			end $$`,
		"create table first as select pg_current_xact_id()::text::bigint + 10 as xid",
		fmt.Sprintf("call use_transactions(%d)", n/4+20),
		fmt.Sprintf(`create table copies with (autovacuum_enabled = off) as
			select md5(i::text)::uuid as id, now() - make_interval(secs => %f + %f * (1 - i / %d::float8)) as came, first.xid + (i - 1) / 8 * 2 as xid
			from first, generate_series(1, %[3]d) i`, youngest.Seconds(), (oldest - youngest).Seconds(), n),
		"create table one as select * from requests limit 1",
		"insert into requests select " + record + " from one, copies copy",
		`insert into changes (xid, at, ids, callers)
			select (copy.xid + k)::text::xid8, min(came) + k * interval '10 ms', array_agg(copy.id), array_agg(hashtextextended(one.caller, 0))
			from one, copies copy, (values (0), (1)) v (k)
			group by copy.xid, k
			order by copy.xid, k`,
		`do $$ declare d date; begin
			for i in 1..3 loop
				d := (now() at time zone 'UTC')::date - i;
				execute format('create table %I partition of payloads for values from (%L) to (%L)', 'payloads_' || to_char(d, 'YYYYMMDD'), d, d + 1);
			end loop;
		end $$`,
		"create table body as select * from payloads limit 1",
		"insert into payloads select " + strings.ReplaceAll(payload, "one.", "body.") + ` from body, copies copy
			where came > date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - interval '4 days'`,
		"drop table used, first, copies, one, body",
		"drop procedure use_transactions",
		// The walk for what is overdue is at what is new, as in a store in use, and does not pass all copies first.
		"update walks set xid = '0', claimed_at = case name when 'overdue' then now() - interval '1 minute' else '-infinity' end",
		"vacuum analyze", "checkpoint",
		// Of a store in use the index by id is in memory: each request goes to another place of it.
		"set enable_seqscan = off", "select count(id) from requests",
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// soakWindows is how many times soak looks.
const soakWindows = 20

// soak lets requests arrive at one rate for a long time, while as many old records become removable, and
// prints what stays flat if retention keeps up: latencies, and what is stored.
func soak(ctx context.Context, o options) error {
	old := int(o.rate * o.duration.Seconds())
	fmt.Fprintf(os.Stderr, "%v at %g/s: about %v\n", o.duration, o.rate, (o.duration + filling(old) + 30*time.Second).Round(10*time.Second))
	f, r, err := begin(ctx, o, nil)
	if err != nil {
		return err
	}
	defer f.end()
	look := f.lookAtSQLite
	store := settings{name: string(fullStore), store: "sqlite:" + f.dir + "/onceway.db"}
	if o.store == "sqlite" {
		r.Store = "SQLite"
		const late = 30 * 24 * time.Hour // SQLite has no clock but the gateway's
		gateway, err := f.onceway(ctx, store)
		if err != nil {
			return err
		}
		if err := f.fillWith(ctx, fullStore, gateway, func() error {
			return multiplySQLite(ctx, f.dir+"/onceway.db", old, late, late-o.duration)
		}); err != nil {
			return err
		}
	} else {
		if err := f.startDatabase(ctx, r); err != nil {
			return err
		}
		if err := f.fill(ctx, fullStore, old, removable, removable-o.duration); err != nil {
			return err
		}
		look, store.store = f.lookAtPostgres, f.postgres.dsn("onceway_"+store.name)
	}
	if f.targets[fullStore], err = f.onceway(ctx, store); err != nil {
		return err
	}
	r.Method = fmt.Sprintf("%s; open loop at %g/s, latencies from arrival; %d records become removable meanwhile; %d windows of %v", o.store, o.rate, old, soakWindows, o.duration/soakWindows)
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
		figures, err := look(ctx)
		if err != nil {
			return err
		}
		p99, size = append(p99, milliseconds(s.P99)), append(size, figures[0].Value)
		figures = append([]figure{{Name: "p50", Unit: "ms", Value: milliseconds(s.P50)}, {Name: "p99", Unit: "ms", Value: milliseconds(s.P99)},
			{Name: "p99.9", Unit: "ms", Value: milliseconds(s.P999)}}, figures...)
		r.note("soak, every window", figures)
		fmt.Fprintf(os.Stderr, "%2d/%d:", window+1, soakWindows)
		for _, f := range figures {
			fmt.Fprintf(os.Stderr, " %s %s %s;", f.Name, number(f.Value), f.Unit)
		}
		fmt.Fprintln(os.Stderr)
	}
	r.note("soak, the last quarter over the one before the middle", []figure{
		{Name: "p99", Unit: "×", Value: growth(p99), AtMost: 1.5}, {Name: "what is stored", Unit: "×", Value: growth(size), AtMost: 1.1}})
	return r.finish(nil, o.json)
}

// lookAtPostgres returns what should stay flat, and what explains it.
func (f *farm) lookAtPostgres(ctx context.Context) ([]figure, error) {
	const database = "onceway_full"
	kept, err1 := f.postgres.count(ctx, database, "select pg_total_relation_size('requests') + pg_total_relation_size('changes')")
	rows, err2 := f.postgres.count(ctx, database, "select count(*) from requests")
	left, err3 := f.countRemovable(ctx, database)
	bodies, err4 := f.postgres.count(ctx, database, "select sum(pg_total_relation_size(relid))::bigint from pg_partition_tree('payloads')")
	vacuums, err5 := f.postgres.count(ctx, database, "select autovacuum_count from pg_stat_user_tables where relname = 'requests'")
	return []figure{{Name: "records and feed", Unit: "MiB", Value: float64(kept) / (1 << 20)}, {Name: "records stored", Value: float64(rows)},
		{Name: "waiting to be removed", Value: float64(left)}, {Name: "bodies of one day, dropped as a whole", Unit: "MiB", Value: float64(bodies) / (1 << 20)},
		{Name: "autovacuums of the records so far", Value: float64(vacuums)}}, errors.Join(err1, err2, err3, err4, err5)
}

func (f *farm) lookAtSQLite(ctx context.Context) ([]figure, error) {
	rows, left, bytes, err := keptSQLite(ctx, f.dir+"/onceway.db")
	return []figure{{Name: "file with its log", Unit: "MiB", Value: float64(bytes) / (1 << 20)}, {Name: "records stored", Value: float64(rows)},
		{Name: "waiting to be removed", Value: float64(left)}}, err
}

// growth compares the median of the last quarter of values with that of the second one: in the first,
// what has been removed is not yet reused.
func growth(values []float64) float64 {
	quarter := len(values) / 4
	return median(values[len(values)-quarter:]) / median(values[quarter:2*quarter])
}
