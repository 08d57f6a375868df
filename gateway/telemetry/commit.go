package telemetry

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/onceway/onceway/idempotency"
)

var _ idempotency.Observer = (*Observer)(nil)

type batchOptions struct {
	size   []metric.RecordOption
	ok     []metric.RecordOption
	failed []metric.RecordOption
}

func newBatchOptions(lane string) batchOptions {
	return batchOptions{
		size:   recorded(keyLane.String(lane)),
		ok:     recorded(keyLane.String(lane), keyResult.String("ok")),
		failed: recorded(keyLane.String(lane), keyResult.String("error")),
	}
}

// Batched counts one group commit: how many transitions, how long, and whether the store answered.
func (o *Observer) Batched(lane string, size int, took time.Duration, err error) {
	ctx := context.Background()
	opts := o.batches.of(lane)
	o.batchSize.Record(ctx, int64(size), opts.size...)
	if err != nil {
		o.batchDuration.Record(ctx, took.Seconds(), opts.failed...)
		return
	}
	o.batchDuration.Record(ctx, took.Seconds(), opts.ok...)
}

// Moved counts records that moved to a state.
func (o *Observer) Moved(to idempotency.State, n int) {
	o.transitions.Add(context.Background(), int64(n), o.moves.of(to.String())...)
}

// Contradicted raises the alarm that an answer proved a not_executed or cancelled record wrong.
func (o *Observer) Contradicted(op idempotency.OperationID) {
	ctx := context.Background()
	o.contradictions.Add(ctx, 1)
	o.log.LogAttrs(ctx, slog.LevelError, "an answer contradicts its record", slog.String("operation", op.String()))
}
