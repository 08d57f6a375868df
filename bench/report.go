package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report is the result of a run: what is printed, and what the JSON file holds.
type report struct {
	Date     time.Time `json:"date"`
	Command  string    `json:"command"` // arguments of the benchmark
	Machine  string    `json:"machine"`
	Storage  string    `json:"storage"`
	Postgres string    `json:"postgres,omitempty"`
	Versions []string  `json:"versions,omitempty"` // of peers and tools that are not built here
	Peer     string    `json:"peer,omitempty"`     // how the middleware's pool was chosen
	Notes    []string  `json:"notes,omitempty"`    // warnings, and what was left out
	Method   string    `json:"method"`
	Store    string    `json:"store,omitempty"` // of the figures; empty for Postgres
	Others   string    `json:"others,omitempty"`
	Rows     []row     `json:"rows,omitempty"`
	Figures  []result  `json:"figures,omitempty"`
	Samples  []sample  `json:"samples,omitempty"`
}

// result is a figure over all rounds.
type result struct {
	Title  string    `json:"title"` // of what measured it
	Name   string    `json:"name"`
	Unit   string    `json:"unit,omitempty"`
	Values []float64 `json:"values"`
	AtMost float64   `json:"at_most,omitempty"`
}

// note adds one round's figures to those of the rounds before.
func (r *report) note(title string, figures []figure) {
	for _, f := range figures {
		i := slices.IndexFunc(r.Figures, func(known result) bool { return known.Title == title && known.Name == f.Name })
		if i < 0 {
			i = len(r.Figures)
			r.Figures = append(r.Figures, result{Title: title, Name: f.Name, Unit: f.Unit, AtMost: f.AtMost})
		}
		r.Figures[i].Values = append(r.Figures[i].Values, f.Value)
	}
}

// row is one cell over all rounds.
type row struct {
	cell
	Generator string `json:"generator"`
	Rate      spread `json:"rate"` // answers per second
	P50       spread `json:"p50"`  // milliseconds
	P99       spread `json:"p99"`
	// Ratios of Rate over the peers'; zero where the peer is not part of the run.
	OverProxy      spread `json:"over_proxy"`
	OverMiddleware spread `json:"over_middleware"`
	// Microseconds of processor time for each request.
	LoadCPU     spread    `json:"load_cpu"`
	TargetCPU   spread    `json:"target_cpu"`
	BackendCPU  spread    `json:"backend_cpu"`
	PostgresCPU spread    `json:"postgres_cpu"`
	Verdicts    []verdict `json:"verdicts,omitempty"`
}

// measures are the figures of a sample that rows and goals speak of.
var measures = map[string]func(sample) float64{
	"rate":     func(s sample) float64 { return s.Rate },
	"p50":      func(s sample) float64 { return milliseconds(s.P50) },
	"p99":      func(s sample) float64 { return milliseconds(s.P99) },
	"load":     func(s sample) float64 { return 1000 * milliseconds(s.LoadCPU) },
	"target":   func(s sample) float64 { return 1000 * milliseconds(s.TargetCPU) },
	"backend":  func(s sample) float64 { return 1000 * milliseconds(s.BackendCPU) },
	"postgres": func(s sample) float64 { return 1000 * milliseconds(s.PostgresCPU) },
}

// summarise makes the rows, in the order of groups. Samples must be in the order of rounds.
func summarise(groups [][]cell, samples []sample) []row {
	series := func(c cell, measure string) []float64 {
		var values []float64
		for _, s := range samples {
			if s.cell == c {
				values = append(values, measures[measure](s))
			}
		}
		return values
	}
	over := func(c cell, peer target, measure string) spread {
		return ratioOf(series(c, measure), series(cell{peer, c.Workload, c.Connections}, measure))
	}
	var rows []row
	for _, c := range slices.Concat(groups...) {
		of := func(measure string) spread { return spreadOf(series(c, measure)) }
		r := row{cell: c, Rate: of("rate"), P50: of("p50"), P99: of("p99"),
			OverProxy: over(c, plainProxy, "rate"), OverMiddleware: over(c, usualMiddleware, "rate"),
			LoadCPU: of("load"), TargetCPU: of("target"), BackendCPU: of("backend"), PostgresCPU: of("postgres")}
		if i := slices.IndexFunc(samples, func(s sample) bool { return s.cell == c }); i >= 0 {
			r.Generator = samples[i].Generator
		}
		for _, g := range goals {
			if ratio := over(c, g.over, g.figure); g.covers(c) && ratio.Median > 0 {
				r.Verdicts = append(r.Verdicts, g.judge(ratio))
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// finish sums up, writes the JSON file if there shall be one, and prints the report.
func (r *report) finish(groups [][]cell, file string) error {
	r.Rows = summarise(groups, r.Samples)
	if len(r.Samples) > 0 {
		r.Others = others(r.Samples)
	}
	if file != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	return r.print(os.Stdout)
}

// print writes the report for humans.
func (r *report) print(w io.Writer) error {
	lines := [][2]string{
		{"date", r.Date.UTC().Format(time.RFC3339)}, {"command", "go run ./bench " + r.Command}, {"machine", r.Machine}, {"storage", r.Storage},
		{"postgres", r.Postgres}, {"versions", strings.Join(r.Versions, ", ")}, {"middleware", r.Peer}, {"method", r.Method}, {"others", r.Others},
	}
	for _, note := range r.Notes {
		lines = append(lines, [2]string{"note", note})
	}
	for _, line := range lines {
		if line[1] != "" {
			fmt.Fprintf(w, "%-11s %s\n", line[0], line[1])
		}
	}
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	var last cell
	for _, row := range r.Rows {
		if row.Workload != last.Workload {
			fmt.Fprintf(t, "\n%s\nconns\ttarget\tload\treq/s\tp50 ms\tp99 ms\t× proxy\t× middleware\tCPU µs: load\ttarget\tbackend\tpostgres\t  goal\n",
				row.Workload.shape().title)
		} else if row.Connections != last.Connections {
			fmt.Fprintln(t, strings.Repeat("\t", 12))
		}
		last = row.cell
		fmt.Fprintf(t, "%d\t%s\t%s\t%.0f (%.0f–%.0f)\t%.2f\t%.2f\t%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t  %s\n",
			row.Connections, row.Target, row.Generator, row.Rate.Median, row.Rate.Min, row.Rate.Max, row.P50.Median, row.P99.Median,
			times(row.OverProxy), times(row.OverMiddleware),
			row.LoadCPU.Median, row.TargetCPU.Median, row.BackendCPU.Median, row.PostgresCPU.Median, words(row.Verdicts))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	title := ""
	for _, f := range r.Figures {
		if f.Title != title {
			title = f.Title
			fmt.Fprintf(w, "\nOnceway on %s: %s\n", cmp.Or(r.Store, "Postgres"), title)
		}
		fmt.Fprintln(w, " ", f)
	}
	return nil
}

// String says a figure, its spread, and whether its median reaches the goal.
func (r result) String() string {
	s := spreadOf(r.Values)
	text := fmt.Sprintf("%-52s %s %s (%s–%s)", r.Name, number(s.Median), r.Unit, number(s.Min), number(s.Max))
	switch {
	case r.AtMost == 0:
	case s.Median <= r.AtMost:
		text += fmt.Sprintf(", goal ≤ %g met", r.AtMost)
	default:
		text += fmt.Sprintf(", goal ≤ %g MISSED", r.AtMost)
	}
	return text
}

// number writes three digits, or all of those before the point.
func number(v float64) string {
	if math.Abs(v) >= 100 || v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func words(vs []verdict) string {
	list := make([]string, len(vs))
	for i, v := range vs {
		list[i] = v.String()
	}
	return strings.Join(list, ", ")
}

// others says how much of the machine went to processes that are no part of the measurement. Above five
// per cent the figures are those of somebody else's work, too.
func others(samples []sample) string {
	shares := make([]float64, len(samples))
	for i, s := range samples {
		shares[i] = 100 * s.Foreign
	}
	share := spreadOf(shares)
	text := fmt.Sprintf("other processes took %.0f %% of the cores' time (median of cells; at most %.0f %%)", share.Median, share.Max)
	if share.Median > 5 {
		text += ": TOO BUSY, do not quote these figures"
	}
	return text
}

// times writes a ratio and its spread over rounds.
func times(s spread) string {
	if s.Median == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Min, s.Max)
}
