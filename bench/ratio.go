package main

import "slices"

// spread is a figure over all rounds.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// median returns the middle of values, or the mean of the two in the middle; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	return spread{median(values), slices.Min(values), slices.Max(values)}
}

// ratioOf compares two series of the same rounds, in the same order: the ratio of their medians, and
// the least and greatest ratio that any single round gave. It is zero unless both are of one length,
// and every figure is positive.
func ratioOf(a, b []float64) spread {
	if len(a) != len(b) || len(a) == 0 {
		return spread{}
	}
	rounds := make([]float64, len(a))
	for i := range a {
		if a[i] <= 0 || b[i] <= 0 {
			return spread{}
		}
		rounds[i] = a[i] / b[i]
	}
	return spread{median(a) / median(b), slices.Min(rounds), slices.Max(rounds)}
}

// goal is a ratio that Onceway sets out to reach.
type goal struct {
	workload workload
	targets  []target
	over     target
	least    float64
	only     int // number of connections; 0 for every
}

var goals = []goal{
	{fresh, []target{oncewayPostgres}, plainProxy, 0.6, 64},
	{fresh, []target{oncewayPostgres}, usualMiddleware, 2, 64},
	{fresh, []target{oncewayPostgres}, usualMiddleware, 1, 0},
	{replay, []target{oncewayPostgres, oncewaySQLite}, plainProxy, 1, 0},
	{get, []target{oncewayPostgres, oncewaySQLite}, plainProxy, 0.9, 0},
}

// goalFor returns the greatest ratio over a peer that is asked of a cell, and whether any is.
func goalFor(c cell, over target) (least float64, ok bool) {
	for _, g := range goals {
		if g.workload == c.Workload && g.over == over && slices.Contains(g.targets, c.Target) && (g.only == 0 || g.only == c.Connections) {
			least, ok = max(least, g.least), true
		}
	}
	return least, ok
}
