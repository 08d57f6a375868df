package participant

import (
	"embed"
	"strings"
)

// PostgresSchema creates the tables, if they are not there. It belongs into the migrations of the
// database that has the effects; the search path decides where the tables are.
//
//go:embed sql/postgres/schema.sql
var PostgresSchema string

// SQLiteSchema is the same for SQLite.
//
//go:embed sql/sqlite/schema.sql
var SQLiteSchema string

//go:embed sql
var files embed.FS

// Dialect is a kind of database.
type Dialect uint8

const (
	Postgres Dialect = iota + 1
	SQLite           // 3.35 or later
)

// statements are the texts of sql/DIALECT.
type statements struct {
	claim, find, record, fence, prepareFence string
	purgeResponses, purgeOperations          string
}

func (d Dialect) statements() statements {
	var directory string
	switch d {
	case Postgres:
		directory = "postgres"
	case SQLite:
		directory = "sqlite"
	default:
		panic("participant: unknown dialect")
	}
	text := func(name string) string {
		b, err := files.ReadFile("sql/" + directory + "/" + name + ".sql")
		if err != nil {
			panic(err) // it is embedded
		}
		return strings.TrimSpace(string(b))
	}
	s := statements{
		claim: text("claim_if_neither_executed_nor_fenced"), find: text("find"),
		record: text("record_if_claimed"), fence: text("fence_if_not_executed"),
		purgeResponses: text("purge_responses"), purgeOperations: text("purge_operations"),
	}
	if d == Postgres {
		s.prepareFence = text("set_patience_and_durability")
	}
	return s
}
