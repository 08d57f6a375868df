package rig

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/onceway/onceway/internal/openapitest"
)

var reconciliation = sync.OnceValues(func() (*openapitest.Document, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return openapitest.Load(filepath.Join(strings.TrimSpace(string(out)), "openapi", "reconciliation.yaml"))
})

// documented holds an answer of the reconciliation API against its document.
func (a *Answer) documented(t testing.TB, r Request) {
	if r.Method == http.MethodOptions {
		return // a browser's question about the API, not a call of it
	}
	path, _, _ := strings.Cut(r.Path, "?")
	doc, err := reconciliation()
	if err == nil && doc.Has(path) {
		err = doc.Check(openapitest.Answer{Method: or(r.Method, http.MethodPost), Path: path, Status: a.Status, Header: a.Header, Body: []byte(a.Body)})
	}
	if err != nil {
		t.Errorf("not as documented: %v", err)
	}
}
