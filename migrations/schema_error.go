package migrations

import "fmt"

// Reason why a schema does not fit. It is a closed set.
type Reason uint8

const (
	Empty Reason = iota + 1 // there is no schema
	Older                   // some migrations are missing
	Newer                   // a newer version of Onceway migrated it
	Dirty                   // a migration stopped half-way
)

func (r Reason) String() string {
	switch r {
	case Empty:
		return "empty"
	case Older:
		return "older"
	case Newer:
		return "newer"
	case Dirty:
		return "dirty"
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// SchemaError says that a store's schema is not the one that this program needs, and what to do.
type SchemaError struct {
	Reason  Reason
	Version SchemaVersion
}

func (e *SchemaError) Error() string {
	switch v := e.Version; e.Reason {
	case Empty:
		return fmt.Sprintf("the store has no schema yet (this program needs version %d): run `onceway migrate up`, or serve with --migrate", v.Latest)
	case Older:
		return fmt.Sprintf("the store's schema is version %d, older than the %d that this program needs: run `onceway migrate up`, or serve with --migrate", v.Current, v.Latest)
	case Newer:
		return fmt.Sprintf("the store's schema is version %d, newer than the %d that this program knows: run the newer onceway (its `onceway migrate down` could take the schema back)", v.Current, v.Latest)
	case Dirty:
		return fmt.Sprintf("the store's schema is dirty: the migration to or from version %d stopped half-way. Compare the schema with that migration, finish or undo it by hand, "+
			"set version and dirty in the table schema_migrations to what is then true, and run `onceway migrate up`", v.Current)
	}
	return "the store's schema does not fit: " + e.Reason.String()
}

// problem returns nil, or why v will not do.
func (v SchemaVersion) problem() error {
	switch {
	case v.Dirty:
		return &SchemaError{Dirty, v}
	case v.Current == v.Latest:
		return nil
	case v.Current == 0:
		return &SchemaError{Empty, v}
	case v.Current < v.Latest:
		return &SchemaError{Older, v}
	default:
		return &SchemaError{Newer, v}
	}
}
