package sqlite_test

import (
	"os"
	"strings"
	"testing"
)

// What is due for a probe is found by its own index, and in its order.
func TestProbesAreFoundByTheirIndex(t *testing.T) {
	text, err := os.ReadFile("sql/due_probes.sql")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := rawFile(t, migrated(t)).QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+string(text), "a", 1, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(plan, "\n"); got != "SEARCH requests USING INDEX requests_probe_due (route=? AND <expr><?)" {
		t.Errorf("plan:\n%s", got)
	}
}
