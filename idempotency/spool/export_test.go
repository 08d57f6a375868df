package spool

import "os"

// Steps of a Put at which a process may die.
const Steps = int(stepDurable) + 1

// WithStep has f called at each step of a Put.
func WithStep(o Options, f func(at int)) Options {
	o.step = func(at step) { f(int(at)) }
	return o
}

// WithSync has f called instead of every fsync.
func WithSync(o Options, f func(*os.File) error) Options {
	o.sync = f
	return o
}
