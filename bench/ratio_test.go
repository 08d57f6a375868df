package main

import (
	"slices"
	"strings"
	"testing"
)

func TestRatioOf(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []float64
		want spread
	}{
		{"one round", []float64{3}, []float64{2}, spread{1.5, 1.5, 1.5}},
		{"of medians, not median of ratios", []float64{10, 20, 60}, []float64{10, 5, 20}, spread{2, 1, 4}},
		{"even number of rounds", []float64{10, 30}, []float64{10, 10}, spread{2, 1, 3}},
		{"order does not matter to the median", []float64{60, 10, 20}, []float64{20, 10, 5}, spread{2, 1, 4}},
		{"peer absent", []float64{10}, nil, spread{}},
		{"peer answered nothing", []float64{10, 10}, []float64{0, 10}, spread{}},
		{"nothing", nil, nil, spread{}},
	} {
		if got := ratioOf(c.a, c.b); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestMedianLeavesItsArgumentAlone(t *testing.T) {
	v := []float64{3, 1, 2}
	if got := median(v); got != 2 || !slices.Equal(v, []float64{3, 1, 2}) {
		t.Errorf("median = %v, argument became %v", got, v)
	}
}

func TestGoals(t *testing.T) {
	for _, c := range []struct {
		cell   cell
		over   target
		figure string
		want   float64 // 0: none
	}{
		{cell{oncewayPostgres, fresh, 64}, plainProxy, "rate", 1},
		{cell{oncewayPostgres, fresh, 16}, plainProxy, "rate", 0},
		{cell{oncewayPostgres, fresh, 256}, usualMiddleware, "rate", 3},
		{cell{oncewayPostgres, fresh, 1}, usualMiddleware, "p99", 1},
		{cell{oncewayPair, fresh, 1}, oncewayPostgres, "rate", 1},
		{cell{oncewaySQLite, fresh, 64}, plainProxy, "rate", .6},
		{cell{oncewayPostgres, get, 64}, caddyProxy, "rate", 1},
		{cell{usualMiddleware, fresh, 64}, plainProxy, "rate", 0},
	} {
		got := 0.
		for _, g := range goals {
			if g.covers(c.cell) && g.over == c.over && g.figure == c.figure {
				got = g.bound
			}
		}
		if got != c.want {
			t.Errorf("%s of %v over %s: %v, want %v", c.figure, c.cell, c.over, got, c.want)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		goal  goal
		ratio spread
		want  string
	}{
		{goal{figure: "rate", over: plainProxy, bound: .6}, spread{.6, .5, .7}, "≥0.6× proxy met"},
		{goal{figure: "rate", over: plainProxy, bound: .6}, spread{.59, .5, .7}, "≥0.6× proxy MISSED"},
		{goal{figure: "rate", over: caddyProxy, bound: 1}, spread{2, 1, 3}, "≥1× caddy met: 2.00 (1.00–3.00)"},
		{goal{figure: "p99", over: usualMiddleware, bound: 1}, spread{1.5, 1, 2}, "p99 ≤1× middleware MISSED: 1.50 (1.00–2.00)"},
		{goal{figure: "p99", over: usualMiddleware, bound: 1}, spread{1, 1, 1}, "p99 ≤1× middleware met: 1.00 (1.00–1.00)"},
	} {
		if got := c.goal.judge(c.ratio).String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestSummariseComparesWithinWorkloadAndConnections(t *testing.T) {
	sampleOf := func(t target, w workload, round int, rate float64) sample {
		return sample{cell: cell{t, w, 64}, Round: round, Rate: rate, Generator: "own"}
	}
	plan := planned(false, []workload{fresh, get}, []int{64}, []target{plainProxy, oncewayPostgres})
	rows := summarise(plan, []sample{
		sampleOf(plainProxy, fresh, 0, 100), sampleOf(oncewayPostgres, fresh, 0, 50),
		sampleOf(plainProxy, get, 0, 1000), sampleOf(oncewayPostgres, get, 0, 950),
		sampleOf(oncewayPostgres, fresh, 1, 70), sampleOf(plainProxy, fresh, 1, 100),
		sampleOf(oncewayPostgres, get, 1, 950), sampleOf(plainProxy, get, 1, 1000),
	})
	want := map[cell]spread{
		{plainProxy, fresh, 64}:      {1, 1, 1},
		{oncewayPostgres, fresh, 64}: {.6, .5, .7},
		{plainProxy, get, 64}:        {1, 1, 1},
		{oncewayPostgres, get, 64}:   {.95, .95, .95},
	}
	for _, r := range rows {
		if r.OverProxy != want[r.cell] || r.OverMiddleware != (spread{}) || r.Generator != "own" {
			t.Errorf("%v: %s, over proxy %v, want %v; over middleware %v, want none", r.cell, r.Generator, r.OverProxy, want[r.cell], r.OverMiddleware)
		}
	}
	if got, want := words(rows[1].Verdicts), "≥1× proxy MISSED"; len(rows) != 4 || got != want {
		t.Errorf("%d rows, verdict %q, want %q", len(rows), got, want)
	}
}

func TestPlan(t *testing.T) {
	count := func(groups [][]cell) int { return len(slices.Concat(groups...)) }
	all := workloadNames()
	usual := planned(false, all, nil, nil)
	full := planned(true, all, nil, nil)
	if count(usual) == 0 || count(full) <= count(usual) {
		t.Errorf("%d cells, %d with -full", count(usual), count(full))
	}
	for _, cells := range slices.Concat(usual, full) {
		for _, c := range cells {
			if c.Workload != cells[0].Workload || c.Connections != cells[0].Connections || !slices.Contains(c.Workload.shape().targets, c.Target) {
				t.Errorf("%v does not belong into %v", c, cells)
			}
		}
	}
	for _, g := range goals {
		if g.target == fullStore {
			continue // has a command of its own
		}
		measured := func(who target) bool {
			return slices.ContainsFunc(slices.Concat(usual...), func(c cell) bool { g := g; g.target = who; return c.Target == who && g.covers(c) })
		}
		if !measured(g.target) || !measured(g.over) {
			t.Errorf("a usual run does not measure %+v", g)
		}
	}
	got := planned(false, []workload{get}, []int{2}, []target{caddyProxy, oncewaySQLite})
	if want := [][]cell{{{caddyProxy, get, 2}}}; !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestRotateKeepsGroupsAndMovesTheFirst(t *testing.T) {
	targets := []target{plainProxy, usualMiddleware, oncewayPostgres}
	plan := planned(false, []workload{fresh, replay}, []int{1, 64}, targets)
	first := map[target]int{}
	for round := range len(targets) {
		rotated := rotate(plan, round)
		for i, cells := range plan {
			group := rotated[i*len(targets) : (i+1)*len(targets)]
			for _, c := range cells {
				if !slices.Contains(group, c) {
					t.Fatalf("round %d: %v is not in its group", round, c)
				}
			}
			first[group[0].Target]++
		}
	}
	for _, target := range targets {
		if first[target] != 4 {
			t.Errorf("%s came first %d times in 3 rounds of 4 groups, want 4", target, first[target])
		}
	}
}

func TestFigures(t *testing.T) {
	var r report
	r.note("memory", []figure{{Name: "idle", Unit: "MiB", Value: 30, AtMost: 40}})
	r.note("memory", []figure{{Name: "idle", Unit: "MiB", Value: 50, AtMost: 40}})
	r.note("other", []figure{{Name: "idle", Value: .123456}})
	if len(r.Figures) != 2 || !strings.HasSuffix(r.Figures[0].String(), "40 MiB (30–50), goal ≤ 40 met") || !strings.HasSuffix(r.Figures[1].String(), "0.123  (0.123–0.123)") {
		t.Errorf("%v", r.Figures)
	}
	r.note("memory", []figure{{Name: "idle", Unit: "MiB", Value: 51, AtMost: 40}})
	if got := r.Figures[0].String(); !strings.HasSuffix(got, "50 MiB (30–51), goal ≤ 40 MISSED") {
		t.Error(got)
	}
}

func TestGrowth(t *testing.T) {
	if got := growth([]float64{1, 2, 10, 10, 50, 60, 20, 30}); got != 2.5 {
		t.Errorf("%v, want the median of the last quarter, 25, over that of the second one, 10", got)
	}
}
