package participant

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/onceway/onceway/idempotency"
)

// The recipe for other languages is what this package runs and tests, to the letter, and its examples
// are what a gateway accepts.
func TestDocumentedRecipe(t *testing.T) {
	page, err := os.ReadFile("../../docs/backends.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, block := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		documented[words(block[1])] = true
	}
	s := Postgres.statements()
	for name, statement := range map[string]string{
		"schema": PostgresSchema, "claim": s.claim, "record": s.record, "find": s.find, "fence": s.fence,
	} {
		if !documented[words(statement)] {
			t.Errorf("docs/backends.md does not have this %s:\n%s", name, statement)
		}
		delete(documented, words(statement))
	}
	for other := range documented {
		t.Errorf("docs/backends.md has SQL that nobody runs:\n%s", other)
	}
	states := map[idempotency.EnvelopeState]bool{}
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		e, err := idempotency.DecodeEnvelope([]byte(block[1]))
		if err != nil {
			t.Errorf("%v:\n%s", err, block[1])
		}
		states[e.State] = true
	}
	if len(states) != 2 {
		t.Errorf("the page shows envelopes %v", states)
	}
}

// words is SQL without comments and layout.
func words(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "--")
		b.WriteString(" " + line)
	}
	return strings.TrimSuffix(strings.Join(strings.Fields(b.String()), " "), ";")
}

// The page's Go is the example, which compiles.
func TestDocumentedExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/backends.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Error("the page has no Go")
	}
	layout := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	for _, block := range blocks {
		if !strings.Contains(layout(string(source)), layout(block[1])) {
			t.Errorf("this is not in example_test.go:\n%s", block[1])
		}
	}
}
