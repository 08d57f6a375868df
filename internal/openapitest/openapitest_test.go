package openapitest

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const small = `
openapi: 3.1.0
paths:
  /things/{id}:
    get:
      responses:
        '200':
          headers: {X-Must: {required: true, schema: {type: string}}, X-May: {schema: {type: integer, minimum: 1}}}
          content: {application/json: {schema: {$ref: '#/components/schemas/Thing'}}}
        '204': {description: None.}
        default: {content: {application/problem+json: {schema: {type: object, required: [code], properties: {code: {type: string}}}}}}
components:
  schemas:
    Thing:
      type: object
      additionalProperties: false
      required: [id, at]
      properties:
        id: {type: string, format: uuid}
        at: {type: [string, 'null'], format: date-time}
        n: {type: integer, minimum: 1}
        kind: {type: string, enum: [a, b]}
        list: {type: array, items: {type: boolean}}
        odd: {oneOf: []}
`

// A checker that cannot fail is worthless.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "small.yaml")
	if err := os.WriteFile(path, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	const id = `"id":"6c1f0a52-0000-8000-8000-000000000000"`
	for _, tt := range []struct {
		path, kind, body string
		status           int
		says             string // "" = nothing
	}{
		{"/things/1", "application/json", `{` + id + `,"at":null,"n":1,"kind":"b","list":[true]}`, 200, ""},
		{"/things/1", "application/json", `{` + id + `,"at":"2026-01-02T03:04:05.5Z"}`, 200, ""},
		{"/things/1", "application/problem+json", `{"code":"x","more":1}`, 404, ""},
		{"/things/1", "", "", 204, ""},
		{"/things/1", "application/json", "x", 204, "a body"},
		{"/things", "application/json", `{}`, 200, "not in the document"},
		{"/things/1", "application/json", `{}`, 201, "not in the document"},
		{"/things/1", "text/plain", `{}`, 200, "not in the document"},
		{"/things/1", "application/problem+json", `{}`, 404, "no member code"},
		{"/things/1", "application/json", `{` + id + `}`, 200, "no member at"},
		{"/things/1", "application/json", `{"id":"6C1F","at":null}`, 200, "$.id is no UUID"},
		{"/things/1", "application/json", `{` + id + `,"at":"2026-01-02T03:04:05+01:00"}`, 200, "$.at is not in UTC"},
		{"/things/1", "application/json", `{` + id + `,"at":1}`, 200, "$.at is float64"},
		{"/things/1", "application/json", `{` + id + `,"at":null,"n":0}`, 200, "$.n is 0"},
		{"/things/1", "application/json", `{` + id + `,"at":null,"n":1.5}`, 200, "$.n is float64"},
		{"/things/1", "application/json", `{` + id + `,"at":null,"kind":"c"}`, 200, "$.kind is c"},
		{"/things/1", "application/json", `{` + id + `,"at":null,"list":[1]}`, 200, "$.list[0] is float64"},
		{"/things/1", "application/json", `{` + id + `,"at":null,"other":1}`, 200, "has the member other"},
		{"/things/1", "application/json", `{` + id + `,"at":null,"odd":1}`, 200, "keyword oneOf"},
		{"/things/1", "application/json", `{`, 200, "unexpected end"},
	} {
		header := http.Header{"X-Must": {"x"}}
		if tt.kind != "" {
			header.Set("Content-Type", tt.kind)
		}
		err := d.Check(Answer{"GET", tt.path, tt.status, header, []byte(tt.body)})
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%d %s: %v, want %q", tt.status, tt.body, err, tt.says)
		}
	}
	body := []byte(`{` + id + `,"at":null}`)
	for says, header := range map[string]http.Header{
		"":                  {"X-Must": {"x"}, "X-May": {"1"}},
		"X-Must is missing": {"X-May": {"1"}},
		"X-May $ is 0":      {"X-Must": {"x"}, "X-May": {"0"}},
		"X-May $ is string": {"X-Must": {"x"}, "X-May": {"soon"}},
	} {
		header.Set("Content-Type", "application/json")
		err := d.Check(Answer{"GET", "/things/1", 200, header, body})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%v: %v, want %q", header, err, says)
		}
	}
	if !d.Has("/things/1") || d.Has("/things/1/2") || d.Has("/things/") {
		t.Error("Has finds another path, or not this one")
	}
}
