package main

import (
	"slices"
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
		cell cell
		over target
		want float64 // 0: none
	}{
		{cell{oncewayPostgres, fresh, 64}, plainProxy, 0.6},
		{cell{oncewayPostgres, fresh, 16}, plainProxy, 0},
		{cell{oncewayPostgres, fresh, 64}, usualMiddleware, 2},
		{cell{oncewayPostgres, fresh, 1}, usualMiddleware, 1},
		{cell{oncewaySQLite, fresh, 64}, plainProxy, 0},
		{cell{oncewaySQLite, replay, 256}, plainProxy, 1},
		{cell{oncewayPostgres, get, 1}, plainProxy, 0.9},
		{cell{usualMiddleware, get, 1}, plainProxy, 0},
	} {
		if got, ok := goalFor(c.cell, c.over); got != c.want || ok != (c.want > 0) {
			t.Errorf("%v over %s: %v, %v, want %v", c.cell, c.over, got, ok, c.want)
		}
	}
}

func TestSummariseComparesWithinWorkloadAndConnections(t *testing.T) {
	sampleOf := func(t target, w workload, round int, rate float64) sample {
		return sample{cell: cell{t, w, 64}, Round: round, Rate: rate}
	}
	cells := cellsOf([]target{plainProxy, oncewayPostgres}, []workload{fresh, get}, []int{64})
	rows := summarise(cells, []sample{
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
		if r.OverProxy != want[r.cell] || r.OverMiddleware != (spread{}) {
			t.Errorf("%v: over proxy %v, want %v; over middleware %v, want none", r.cell, r.OverProxy, want[r.cell], r.OverMiddleware)
		}
	}
	if got, want := rows[1].verdict(), "≥0.6× proxy met"; got != want {
		t.Errorf("verdict %q, want %q", got, want)
	}
	rows[1].OverProxy.Median = .59
	if got, want := rows[1].verdict(), "≥0.6× proxy MISSED"; got != want {
		t.Errorf("verdict %q, want %q", got, want)
	}
}

func TestRotateKeepsGroupsAndMovesTheFirst(t *testing.T) {
	targets := []target{plainProxy, usualMiddleware, oncewayPostgres}
	cells := cellsOf(targets, []workload{fresh, get}, []int{1, 64})
	first := map[target]int{}
	for round := range len(targets) {
		rotated := rotate(cells, len(targets), round)
		for i := 0; i < len(cells); i += len(targets) {
			for _, c := range cells[i : i+len(targets)] {
				if !slices.Contains(rotated[i:i+len(targets)], c) {
					t.Fatalf("round %d: %v is not in its group", round, c)
				}
			}
			first[rotated[i].Target]++
		}
	}
	for _, target := range targets {
		if first[target] != 4 {
			t.Errorf("%s came first %d times in 3 rounds of 4 groups, want 4", target, first[target])
		}
	}
}
