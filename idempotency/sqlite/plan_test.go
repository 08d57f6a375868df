package sqlite_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/onceway/onceway/idempotency/sqlite"
)

// No statement reads a whole table, or an index, that grows with what is stored. SQLite takes a partial index
// only where the index's condition stands in the statement word by word.
func TestNoStatementReadsAWholeTable(t *testing.T) {
	files, err := fs.Glob(sqlite.Statements, "sql/*.sql")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d statements: %v", len(files), err)
	}
	db := rawFile(t, migrated(t))
	grows := regexp.MustCompile(`^SCAN (requests|payloads|evidence|changes)\b`)
	small := regexp.MustCompile(` INDEX requests_(open|contradicted|probe_due|in_doubt_of_caller)$`) // of what somebody must look at
	for _, file := range files {
		text, err := sqlite.Statements.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+strings.Replace(string(text), "…", "NULL, NULL", 1), make([]any, 40)...)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for rows.Next() {
			var id, parent, notused int
			var detail string
			if err := rows.Scan(&id, &parent, &notused, &detail); err != nil {
				t.Fatal(err)
			}
			if grows.MatchString(detail) && !small.MatchString(detail) {
				t.Errorf("%s: %s", file, detail)
			}
		}
		if err := rows.Err(); err != nil {
			t.Error(err)
		}
	}
}
