//go:build !unix

package migrations

import "context"

// lock does nothing: the embedded store itself refuses to run on such systems.
func (f sqliteFile) lock(context.Context) (unlock func(), err error) { return func() {}, nil }
