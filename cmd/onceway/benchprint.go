package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// printBench prints a report for people, and what it means for their requests.
func printBench(out io.Writer, r benchReport) error {
	fmt.Fprintf(out, "onceway %s   %s   %d cores here   answers of %d bytes   %v each row\n\n", r.Version, r.Store, r.Cores, r.Body,
		time.Duration(r.Seconds*float64(time.Second)))
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "\tAT A TIME\tPER SECOND\tCOMMITS/S\tP50\tP99")
	row := func(name string, b benchRow) {
		fmt.Fprintf(table, "%s\t%d\t%.0f\t%.0f\t%s\t%s\n", name, b.AtATime, b.PerSecond, b.Commits, millis(b.P50), millis(b.P99))
	}
	row("bare insert", r.Bare)
	most := r.Requests[0]
	for _, b := range r.Requests {
		row("protected request", b)
		if b.PerSecond > most.PerSecond {
			most = b
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	first := r.Requests[0]
	_, err := fmt.Fprintf(out, `
What to expect: with %d at a time, the store adds about %s to each protected request (half of them take longer): two
durable commits, of which a bare one takes %s. It carries up to about %.0f new requests a second, %.1f moves to a commit;
replays of answers that a gateway still has in memory cost it nothing. The gateway's and the backend's own work come on top.
`, first.AtATime, millis(first.P50), millis(r.Bare.P50), most.PerSecond, 2*most.PerSecond/max(most.Commits, 1))
	return err
}

func millis(micros float64) string { return fmt.Sprintf("%.2f ms", micros/1e3) }
