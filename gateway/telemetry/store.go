package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Store is asked whenever metrics are read.
type Store interface {
	// InDoubt returns the number of records in state unknown.
	InDoubt(ctx context.Context) (int64, error)
	// Contradicted returns the number of records that an answer has proved wrong.
	Contradicted(ctx context.Context) (int64, error)
	// FeedLag returns for how long the oldest change has been committed that cannot be shown yet.
	FeedLag(ctx context.Context) (time.Duration, error)
}

// storePatience is how long a reader of metrics waits for a store in all: Prometheus gives up a scrape after ten
// seconds, and then has no metrics at all, just when they are needed.
const storePatience = time.Second

// Store tells what s says whenever metrics are read. What it does not say in time is left out. The error is that
// of an instrument that the meter refuses.
func (o *Observer) Store(s Store) error {
	unknown, err1 := o.meter.Int64ObservableGauge("onceway.records.unknown", metric.WithUnit("{record}"),
		metric.WithDescription("Records in state unknown, in the whole store."))
	contradicted, err2 := o.meter.Int64ObservableGauge("onceway.records.contradicted", metric.WithUnit("{record}"),
		metric.WithDescription("Records that an answer has proved wrong, in the whole store. Should be zero."))
	lag, err3 := o.meter.Float64ObservableGauge("onceway.feed.lag", metric.WithUnit("s"),
		metric.WithDescription("For how long the oldest change in the whole store has been waiting to be shown, behind a transaction that began before it."))
	_, err4 := o.meter.RegisterCallback(func(ctx context.Context, out metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, storePatience)
		defer cancel()
		inDoubt, err1 := s.InDoubt(ctx)
		if err1 == nil {
			out.ObserveInt64(unknown, inDoubt)
		}
		wrong, err2 := s.Contradicted(ctx)
		if err2 == nil {
			out.ObserveInt64(contradicted, wrong)
		}
		late, err3 := s.FeedLag(ctx)
		if err3 == nil {
			out.ObserveFloat64(lag, late.Seconds())
		}
		return errors.Join(err1, err2, err3)
	}, unknown, contradicted, lag)
	return errors.Join(err1, err2, err3, err4)
}
