package telemetry

import (
	"context"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// inFlight counts requests that are being answered, by the name of their route. Whoever reads metrics asks for the numbers: so
// a request adds and subtracts one, and tells no instrument.
type inFlight struct {
	mu sync.Mutex
	by map[string]*atomic.Int64
}

// of returns the number of a route. Routes of one name share it.
func (f *inFlight) of(route string) *atomic.Int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[string]*atomic.Int64{}
	}
	if f.by[route] == nil {
		f.by[route] = new(atomic.Int64)
	}
	return f.by[route]
}

func (o *Observer) countInFlight() error {
	_, err := o.meter.Int64ObservableUpDownCounter("onceway.in_flight",
		metric.WithDescription("Requests that are being answered, by route."), metric.WithUnit("{request}"),
		metric.WithInt64Callback(func(_ context.Context, observer metric.Int64Observer) error {
			o.inFlight.mu.Lock()
			defer o.inFlight.mu.Unlock()
			for route, n := range o.inFlight.by {
				observer.Observe(n.Load(), metric.WithAttributeSet(attribute.NewSet(keyRoute.String(route))))
			}
			return nil
		}))
	return err
}
