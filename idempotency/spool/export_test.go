package spool

import "os"

// WithSync has f called instead of every fsync.
func WithSync(o Options, f func(*os.File) error) Options {
	o.sync = f
	return o
}
