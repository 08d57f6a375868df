package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/metric"
)

// Feed is what there is to say of the feed.
type Feed interface {
	// Following returns how many readers follow it here, and how many changes are kept for them.
	Following() (readers, changes int)
}

// Feed tells about the feed whenever metrics are read. The error is that of an instrument that the meter refuses.
func (o *Observer) Feed(f Feed) error {
	for _, g := range []struct {
		name, unit, text string
		of               func() int
	}{
		{"onceway.feed.readers", "{reader}", "Streams and waits that follow the feed on this gateway.", func() int { n, _ := f.Following(); return n }},
		{"onceway.feed.kept", "{change}", "Changes that are kept in memory for those who follow.", func() int { _, n := f.Following(); return n }},
	} {
		if _, err := o.meter.Int64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.text),
			metric.WithInt64Callback(func(_ context.Context, out metric.Int64Observer) error {
				out.Observe(int64(g.of()))
				return nil
			})); err != nil {
			return err
		}
	}
	return nil
}
