//go:build !unix

package migrations

// lock does nothing: the embedded store itself refuses to run on such systems.
func (f sqliteFile) lock() (unlock func(), err error) { return func() {}, nil }
