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

var (
	reconciliation = sync.OnceValues(func() (*openapitest.Document, error) { return load("reconciliation.yaml") })
	operatorsAPI   = sync.OnceValues(func() (*openapitest.Document, error) { return load("admin.yaml") })
)

func load(name string) (*openapitest.Document, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return openapitest.Load(filepath.Join(strings.TrimSpace(string(out)), "openapi", name))
}

// documented holds an answer against a document, if the path is one of the document's.
func (a *Answer) documented(t testing.TB, document func() (*openapitest.Document, error), method, path string) {
	t.Helper()
	if method == http.MethodOptions {
		return // a browser's question about the API, not a call of it
	}
	path, _, _ = strings.Cut(path, "?")
	doc, err := document()
	if err == nil && doc.Has(path) {
		err = doc.Check(openapitest.Answer{Method: method, Path: path, Status: a.Status, Header: a.Header, Body: []byte(a.Body)})
	}
	if err != nil {
		t.Errorf("not as documented: %v", err)
	}
}
