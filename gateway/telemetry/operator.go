package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/metric"
)

// Resolved counts one record in doubt that an operator settled. It implements what the admin API asks.
func (o *Observer) Resolved(executed bool) {
	opts := o.resolvedNot
	if executed {
		opts = o.resolvedExecuted
	}
	o.resolutions.Add(context.Background(), 1, opts...)
}

// ContradictedRecords tells how many records an answer has proved wrong whenever metrics are read. It is
// called with the reader's context.
func (o *Observer) ContradictedRecords(count func(context.Context) (int64, error)) error {
	_, err := o.meter.Int64ObservableGauge("onceway.records.contradicted",
		metric.WithDescription("Records that an answer has proved wrong, in the whole store. Should be zero."), metric.WithUnit("{record}"),
		metric.WithInt64Callback(func(ctx context.Context, observer metric.Int64Observer) error {
			n, err := count(ctx)
			if err == nil {
				observer.Observe(n)
			}
			return err
		}))
	return err
}
