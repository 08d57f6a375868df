package main

import "slices"

// Who is compared. What starts each of them is in target.go.
const (
	plainProxy      target = "proxy"      // Go's httputil.ReverseProxy as it comes; no store, as the next four
	tunedProxy      target = "tuned"      // the same with pooled buffers
	nginxProxy      target = "nginx"      // Debian's packages, on the path; what is missing is left out
	haproxyProxy    target = "haproxy"    //
	caddyProxy      target = "caddy"      //
	usualMiddleware target = "middleware" // the plain proxy behind one INSERT and one UPDATE
	oncewayPostgres target = "postgres"   // Onceway on Postgres
	oncewaySQLite   target = "sqlite"     // Onceway on SQLite
	oncewayPair     target = "pair"       // two of Onceway on one Postgres, half of the connections each
)

// Whom the command records compares: Onceway on Postgres without records, and with many.
const (
	emptyStore target = "empty"
	fullStore  target = "full"
)

// What is sent.
const (
	fresh      workload = "fresh"
	replay     workload = "replay"
	cold       workload = "cold"
	get        workload = "get"
	status     workload = "status"
	statusCold workload = "statuscold"
	body10     workload = "body10k"
	body200    workload = "body200k"
	prime      workload = "prime" // what those with keys that come again ask for; not measured
)

var (
	packaged  = []target{nginxProxy, haproxyProxy, caddyProxy}
	everybody = append([]target{plainProxy, tunedProxy, usualMiddleware, oncewayPostgres, oncewayPair, oncewaySQLite}, packaged...)
	passing   = append([]target{plainProxy, tunedProxy, oncewayPostgres}, packaged...)
	replaying = []target{plainProxy, usualMiddleware, oncewayPostgres, oncewaySQLite}
	both      = []target{plainProxy, oncewayPostgres, oncewaySQLite}
	usual     = []target{plainProxy, usualMiddleware, oncewayPostgres}
	reverse   = []target{plainProxy, oncewayPostgres}
)

// workloads is the plan: what is sent, who can take part, and what of that a usual run measures. A run
// with -full measures everybody at 1, 16, 64 and 256 connections.
var workloads = []shape{
	{fresh, "Fresh POST", "/orders", 1 << 10, freshKey, everybody, []group{{[]int{1, 16, 256}, usual}, {[]int{64}, everybody}}},
	{replay, "Replay, in memory", "/orders", 1 << 10, hotKeys, replaying, []group{{[]int{64}, both}}},
	{cold, "Replay, from the store", "/orders", 1 << 10, allKeys, replaying, []group{{[]int{64}, reverse}}},
	{get, "GET, passed through", "/orders/0193e4a0-0000-7000-8000-000000000000", 0, noKey, passing, []group{{[]int{64}, passing}}},
	{status, "Status query by key, in memory", "/_reconcile/v1/requests/{key}", 0, hotKeys, both, []group{{[]int{64}, reverse}}},
	{statusCold, "Status query by key, from the store", "/_reconcile/v1/requests/{key}", 0, allKeys, both, []group{{[]int{64}, reverse}}},
	{body10, "Fresh POST, 10 KiB there and back", "/documents", 10 << 10, freshKey, replaying, []group{{[]int{64}, reverse}}},
	{body200, "Fresh POST, 200 KiB there and back", "/documents", 200 << 10, freshKey, replaying, []group{{[]int{16}, reverse}}},
}

// probes are what one ratio cannot say: each gives some figures of Onceway in every round.
var probes = []probe{
	{"commit", "a lone request against the commits of its database", (*farm).probeCommit},
	{"open", "open loop at half and at four fifths of the own maximum, from arrival", (*farm).probeOpen},
	{"hotkey", "256 duplicates of one key in flight", (*farm).probeHotKey},
	{"storm", "2,000 clients come back at once and ask about 12 requests each, while 500 others arrive each second", (*farm).probeStorm},
	{"memory", "resident memory", (*farm).probeMemory},
}

// goals are what Onceway sets out to reach: ratios of medians over a peer, at least of rates and at
// most of latencies. Zero connections stand for any number.
var goals = []goal{
	{fresh, oncewayPostgres, []int{64, 256}, "rate", plainProxy, 1},
	{fresh, oncewayPostgres, []int{64, 256}, "rate", usualMiddleware, 3},
	{fresh, oncewayPostgres, []int{1, 16}, "rate", usualMiddleware, 1},
	{fresh, oncewayPostgres, []int{1, 16}, "p50", usualMiddleware, 1},
	{fresh, oncewayPostgres, []int{1, 16}, "p99", usualMiddleware, 1},
	{fresh, oncewaySQLite, []int{64}, "rate", plainProxy, .6},
	{fresh, oncewayPair, nil, "rate", oncewayPostgres, 1},
	{fresh, fullStore, nil, "rate", emptyStore, .85},
	{fresh, fullStore, nil, "p99", emptyStore, 1.5},
	{replay, oncewayPostgres, []int{64}, "rate", plainProxy, 3},
	{replay, oncewaySQLite, []int{64}, "rate", plainProxy, 3},
	{cold, oncewayPostgres, []int{64}, "rate", plainProxy, 1},
	{get, oncewayPostgres, []int{64}, "rate", plainProxy, 1},
	{get, oncewayPostgres, []int{64}, "rate", caddyProxy, 1},
	{status, oncewayPostgres, []int{64}, "rate", plainProxy, 1.5},
	{statusCold, oncewayPostgres, []int{64}, "rate", plainProxy, 1.5},
	{body10, oncewayPostgres, nil, "rate", plainProxy, .6},
}

// group is cells that are compared with each other: each target at each number of connections.
type group struct {
	connections []int
	targets     []target
}

// plan is what a round measures: cells in the order of the table, those that are compared in one slice,
// and probes.
type plan struct {
	groups [][]cell
	probes []probe
}

func (p plan) cells() []cell { return slices.Concat(p.groups...) }

// planned returns what the command line leaves of workloads. Zero values of connections and targets stand for the plan's own.
func planned(full bool, wanted []workload, connections []int, targets []target) [][]cell {
	var cells [][]cell
	for _, w := range workloads {
		if !slices.Contains(wanted, w.name) {
			continue
		}
		groups := w.usual
		if full {
			groups = []group{{[]int{1, 16, 64, 256}, w.targets}}
		}
		if len(connections) > 0 {
			groups = []group{{connections, w.targets}}
		}
		first := len(cells)
		for _, g := range groups {
			for _, n := range g.connections {
				var compared []cell
				for _, t := range everybody {
					in := slices.Contains(g.targets, t)
					if len(targets) > 0 {
						in = slices.Contains(w.targets, t) && slices.Contains(targets, t)
					}
					if in {
						compared = append(compared, cell{t, w.name, n})
					}
				}
				if len(compared) > 0 {
					cells = append(cells, compared)
				}
			}
		}
		slices.SortStableFunc(cells[first:], func(a, b []cell) int { return a[0].Connections - b[0].Connections })
	}
	return cells
}

// rotate returns cells in the order of the given round. Within each group another one comes first in
// each round and each group, so that nobody always runs after the same neighbour's mess.
func rotate(groups [][]cell, round int) []cell {
	var rotated []cell
	for i, cells := range groups {
		first := (round + i) % len(cells)
		rotated = append(append(rotated, cells[first:]...), cells[:first]...)
	}
	return rotated
}
