package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report is the result of a run: what is printed, and what the JSON file holds.
type report struct {
	Date     time.Time `json:"date"`
	Machine  string    `json:"machine"`
	Storage  string    `json:"storage"`
	Postgres string    `json:"postgres,omitempty"`
	Peer     string    `json:"peer,omitempty"`     // how the middleware's pool was chosen
	Profiled string    `json:"profiled,omitempty"` // a warning, if profiles were taken
	Method   string    `json:"method"`
	Others   string    `json:"others"`
	Rows     []row     `json:"rows"`
	Samples  []sample  `json:"samples"`
}

// row is one cell over all rounds.
type row struct {
	cell
	Rate spread `json:"rate"` // answers per second
	P50  spread `json:"p50"`  // milliseconds
	P99  spread `json:"p99"`
	// Ratios of Rate over the peers'; zero where the peer is not part of the run.
	OverProxy      spread `json:"over_proxy"`
	OverMiddleware spread `json:"over_middleware"`
	// Microseconds of processor time for each request.
	LoadCPU     spread `json:"load_cpu"`
	TargetCPU   spread `json:"target_cpu"`
	BackendCPU  spread `json:"backend_cpu"`
	PostgresCPU spread `json:"postgres_cpu"`
}

// summarise makes the rows, in the order of cells. Samples must be in the order of rounds.
func summarise(cells []cell, samples []sample) []row {
	series := func(c cell, figure func(sample) float64) []float64 {
		var values []float64
		for _, s := range samples {
			if s.cell == c {
				values = append(values, figure(s))
			}
		}
		return values
	}
	rate := func(s sample) float64 { return s.Rate }
	over := func(c cell, peer target) spread {
		return ratioOf(series(c, rate), series(cell{peer, c.Workload, c.Connections}, rate))
	}
	in := func(unit time.Duration, figure func(sample) time.Duration) func(sample) float64 {
		return func(s sample) float64 { return float64(figure(s)) / float64(unit) }
	}
	rows := make([]row, 0, len(cells))
	for _, c := range cells {
		rows = append(rows, row{
			cell:           c,
			Rate:           spreadOf(series(c, rate)),
			P50:            spreadOf(series(c, in(time.Millisecond, func(s sample) time.Duration { return s.P50 }))),
			P99:            spreadOf(series(c, in(time.Millisecond, func(s sample) time.Duration { return s.P99 }))),
			OverProxy:      over(c, plainProxy),
			OverMiddleware: over(c, usualMiddleware),
			LoadCPU:        spreadOf(series(c, in(time.Microsecond, func(s sample) time.Duration { return s.LoadCPU }))),
			TargetCPU:      spreadOf(series(c, in(time.Microsecond, func(s sample) time.Duration { return s.TargetCPU }))),
			BackendCPU:     spreadOf(series(c, in(time.Microsecond, func(s sample) time.Duration { return s.BackendCPU }))),
			PostgresCPU:    spreadOf(series(c, in(time.Microsecond, func(s sample) time.Duration { return s.PostgresCPU }))),
		})
	}
	return rows
}

var workloadNames = map[workload]string{fresh: "Fresh POST", replay: "Replay, in memory", cold: "Replay, from the store", get: "GET"}

// print writes the report for humans.
func (r *report) print(w io.Writer) error {
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range [][2]string{
		{"date", r.Date.UTC().Format(time.RFC3339)}, {"machine", r.Machine}, {"storage", r.Storage},
		{"postgres", r.Postgres}, {"middleware", r.Peer}, {"profiles", r.Profiled}, {"method", r.Method}, {"others", r.Others},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%-11s %s\n", line[0], line[1])
		}
	}
	var last cell
	for _, row := range r.Rows {
		if row.Workload != last.Workload {
			fmt.Fprintf(t, "\n%s\nconns\ttarget\treq/s\tp50 ms\tp99 ms\t× proxy\t× middleware\tCPU µs: load\ttarget\tbackend\tpostgres\t  goal\n",
				workloadNames[row.Workload])
		} else if row.Connections != last.Connections {
			fmt.Fprintln(t, strings.Repeat("\t", 11))
		}
		last = row.cell
		fmt.Fprintf(t, "%d\t%s\t%.0f (%.0f–%.0f)\t%.2f\t%.2f\t%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t  %s\n",
			row.Connections, row.Target, row.Rate.Median, row.Rate.Min, row.Rate.Max, row.P50.Median, row.P99.Median,
			times(row.OverProxy), times(row.OverMiddleware),
			row.LoadCPU.Median, row.TargetCPU.Median, row.BackendCPU.Median, row.PostgresCPU.Median, row.verdict())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(table.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	return nil
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

// verdict says which goals the row has, and whether the medians reach them.
func (r row) verdict() string {
	var words []string
	for _, g := range [...]struct {
		peer  target
		ratio spread
	}{{plainProxy, r.OverProxy}, {usualMiddleware, r.OverMiddleware}} {
		least, ok := goalFor(r.cell, g.peer)
		if !ok || g.ratio.Median == 0 {
			continue
		}
		result := "met"
		if g.ratio.Median < least {
			result = "MISSED"
		}
		words = append(words, "≥"+strconv.FormatFloat(least, 'g', -1, 64)+"× "+string(g.peer)+" "+result)
	}
	return strings.Join(words, ", ")
}

func (r *report) writeJSON(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
