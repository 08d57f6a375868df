package telemetry

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/onceway/onceway/idempotency"
)

// SpoolStatus is what there is to say of a spool.
type SpoolStatus struct {
	Depth   int       // outcomes that the store does not have yet
	Bytes   int64     // of the disk
	Limit   int64     // of Bytes
	Oldest  time.Time // outcome; zero if there is none
	Damaged int       // entries that were put aside
}

// Spool observes one spool: how much is in it whenever metrics are read, and what becomes of it.
type Spool struct {
	log  *slog.Logger
	news metric.Int64Counter
	of   labels[[]metric.AddOption]
}

var _ idempotency.SpoolObserver = (*Spool)(nil)

// Spool returns the observer of the spool with a status. The error is that of an instrument that the
// meter refuses.
func (o *Observer) Spool(status func() SpoolStatus) (*Spool, error) {
	s := &Spool{log: o.log}
	s.of.make = func(news string) []metric.AddOption { return added(keyResult.String(news)) }
	var err error
	if s.news, err = o.meter.Int64Counter("onceway.spool.outcomes", metric.WithUnit("{outcome}"),
		metric.WithDescription("Outcomes that the store did not take in time, by what became of them.")); err != nil {
		return nil, err
	}
	for _, g := range []struct {
		name, unit, text string
		of               func(SpoolStatus) int64
	}{
		{"onceway.spool.depth", "{outcome}", "Outcomes in the spool.", func(s SpoolStatus) int64 { return int64(s.Depth) }},
		{"onceway.spool.size", "By", "Bytes of the spool's files.", func(s SpoolStatus) int64 { return s.Bytes }},
		{"onceway.spool.limit", "By", "Bytes that the spool may take.", func(s SpoolStatus) int64 { return s.Limit }},
		{"onceway.spool.damaged", "{outcome}", "Entries of the spool that were put aside. Should be zero.", func(s SpoolStatus) int64 { return int64(s.Damaged) }},
		{"onceway.spool.age", "s", "Age of the oldest outcome in the spool.", func(s SpoolStatus) int64 { return int64(s.Age(time.Now()).Seconds()) }},
	} {
		if _, err := o.meter.Int64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.text),
			metric.WithInt64Callback(func(_ context.Context, out metric.Int64Observer) error {
				out.Observe(g.of(status()))
				return nil
			})); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Age is how old the oldest outcome is, by this machine's clock.
func (s SpoolStatus) Age(now time.Time) time.Duration {
	if s.Oldest.IsZero() {
		return 0
	}
	return max(0, now.Sub(s.Oldest))
}

// Spooled implements idempotency.SpoolObserver. What is out of the ordinary is logged, too.
func (s *Spool) Spooled(op idempotency.OperationID, news idempotency.SpoolNews, err error) {
	ctx := context.Background()
	s.news.Add(ctx, 1, s.of.of(news.String())...)
	attrs := []slog.Attr{slog.String("operation", op.String())}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	switch news {
	case idempotency.SpoolRefused:
		s.log.LogAttrs(ctx, slog.LevelError, "the spool did not take an outcome that the store did not take", attrs...)
	case idempotency.SpoolDamaged:
		s.log.LogAttrs(ctx, slog.LevelError, "an outcome in the spool is damaged and was put aside", attrs...)
	case idempotency.SpoolSuperseded:
		s.log.LogAttrs(ctx, slog.LevelWarn, "the record of an outcome in the spool was settled otherwise", attrs...)
	case idempotency.SpoolImported:
		s.log.LogAttrs(ctx, slog.LevelWarn, "the store had lost the claim of an outcome in the spool", attrs...)
	case idempotency.SpoolKept:
		s.log.LogAttrs(ctx, slog.LevelWarn, "the store did not take an outcome in time: it is in the spool", attrs...)
	case idempotency.SpoolRecorded:
		s.log.LogAttrs(ctx, slog.LevelInfo, "an outcome in the spool is recorded", attrs...)
	case idempotency.SpoolContradicted: // the committer's observer raises that alarm
	}
}
