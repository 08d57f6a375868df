package main

import (
	"fmt"
	"slices"
)

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

// goal is a ratio over a peer that Onceway sets out to reach.
type goal struct {
	workload    workload
	target      target
	connections []int  // nil for any
	figure      string // rate, p50 or p99
	over        target
	bound       float64 // at least for a rate, at most for a latency
}

func (g goal) covers(c cell) bool {
	return g.workload == c.Workload && g.target == c.Target && (g.connections == nil || slices.Contains(g.connections, c.Connections))
}

// met reports whether a ratio reaches the goal.
func (g goal) met(ratio float64) bool {
	if g.figure == "rate" {
		return ratio >= g.bound
	}
	return ratio <= g.bound
}

// verdict is a goal and what was reached.
type verdict struct {
	Goal  string `json:"goal"`
	Ratio spread `json:"ratio"`
	Met   bool   `json:"met"`
	shown bool   // the ratio has a column of its own
}

func (g goal) judge(ratio spread) verdict {
	sign, what := "≥", ""
	if g.figure != "rate" {
		sign, what = "≤", g.figure+" "
	}
	return verdict{
		Goal: fmt.Sprintf("%s%s%g× %s", what, sign, g.bound, g.over), Ratio: ratio, Met: g.met(ratio.Median),
		shown: g.figure == "rate" && (g.over == plainProxy || g.over == usualMiddleware),
	}
}

func (v verdict) String() string {
	text := v.Goal + " MISSED"
	if v.Met {
		text = v.Goal + " met"
	}
	if !v.shown {
		text += ": " + times(v.Ratio)
	}
	return text
}
