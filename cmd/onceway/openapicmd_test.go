package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

const backend = `openapi: 3.0.3
info: {title: Orders, version: "1"}
paths:
  /orders: # of the shop
    post:
      parameters:
        - {name: Idempotency-Key, in: header, schema: {type: string}}
      responses:
        "201": {description: Made.}
`

func parsed(t *testing.T, text string) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err == nil {
		err = doc.Validate(t.Context())
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return doc
}

func TestDecorateCommand(t *testing.T) {
	clean(t)
	file := write(t, backend)
	code, plain, stderr := onceway(t, "openapi", "decorate", file)
	if code != exitOK || stderr != "warning: POST /orders: the document calls Idempotency-Key optional, and the gateway requires it; the document is left as it is.\n" ||
		!strings.Contains(plain, "# of the shop") {
		t.Errorf("exit %d: %s%s", code, plain, stderr)
	}
	responses := parsed(t, plain).Paths.Value("/orders").Post.Responses
	if responses.Value("409") == nil || responses.Value("201").Value.Headers["Idempotency-State"] == nil || responses.Value("403") != nil {
		t.Errorf("%s", plain)
	}
	out := filepath.Join(t.TempDir(), "out.yaml")
	code, stdout, _ := onceway(t, "openapi", "decorate", file, "--config", write(t, good), "-o", out)
	written, err := os.ReadFile(out)
	if code != exitOK || stdout != "" || err != nil || string(written) != plain {
		t.Errorf("exit %d, %v: %s%s", code, err, stdout, written)
	}
	other := strings.Replace(good, "/orders/**", "/other/**", 1)
	code, stdout, stderr = onceway(t, "openapi", "decorate", file, "--config", write(t, other))
	if code != exitOK || strings.Contains(stdout, "Onceway") || !strings.Contains(stderr, "protects no operation") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	for _, tt := range []struct {
		args   []string
		code   exitCode
		stderr string
	}{
		{[]string{"openapi", "decorate"}, exitUsage, "accepts 1 arg(s)"},
		{[]string{"openapi", "decorate", filepath.Join(t.TempDir(), "none.yaml")}, exitFailure, "no such file"},
		{[]string{"openapi", "decorate", write(t, "swagger: '2.0'\n")}, exitFailure, "Swagger 2.0"},
		{[]string{"openapi", "decorate", file, "--config", write(t, "version: 2\n")}, exitConfig, "version"},
		{[]string{"openapi", "decorate", file, "-o", filepath.Join(t.TempDir(), "none", "out.yaml")}, exitFailure, "no such file"},
	} {
		if code, stdout, stderr := onceway(t, tt.args...); code != tt.code || stdout != "" || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%v: exit %d, want %d: %s%s", tt.args, code, tt.code, stdout, stderr)
		}
	}
}

func TestOurOwnDocuments(t *testing.T) {
	clean(t)
	_, standard, _ := onceway(t, "openapi", "reconciliation")
	_, other, _ := onceway(t, "openapi", "reconciliation", "--config", write(t, good+"reconcile: {base_path: /mine}\n"))
	_, admin, _ := onceway(t, "openapi", "admin")
	for text, path := range map[string]string{standard: "/_reconcile/v1/query", other: "/mine/query", admin: "/admin/v1/requests"} {
		if parsed(t, text).Paths.Value(path) == nil {
			t.Errorf("there is no %s\n%s", path, text)
		}
	}
	if strings.Contains(other, "\n  /_reconcile") || !strings.Contains(other, "\n  /.well-known/idempotency:") {
		t.Error("the base path is not the configured one")
	}
}
