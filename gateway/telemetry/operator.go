package telemetry

import "context"

// Resolved counts one record in doubt that an operator settled. It implements what the admin API asks.
func (o *Observer) Resolved(executed bool) {
	opts := o.resolvedNot
	if executed {
		opts = o.resolvedExecuted
	}
	o.resolutions.Add(context.Background(), 1, opts...)
}
