package decorate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"go.yaml.in/yaml/v3"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/decorate"
)

// tester is what tests and properties have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// configured is a configuration with routes, as in a file.
func configured(t tester, routes string, more ...string) *config.Config {
	t.Helper()
	if len(more) == 0 {
		more = []string{"caller: {none: {}}"}
	}
	text := "version: 1\nupstreams: {b: {targets: ['http://127.0.0.1:1']}}\n" + strings.Join(more, "\n") + "\nroutes:\n" + routes
	c, err := config.Load(config.Source{File: "test.yaml", Data: []byte(text)})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

const every = "- {name: all, match: {path: /**}, upstream: b}\n"

func decorated(t tester, data []byte, c *config.Config) decorate.Result {
	t.Helper()
	r, err := decorate.Decorate(data, c)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return r
}

// valid holds a document against the specification.
func valid(t tester, data []byte) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err == nil {
		err = doc.Validate(context.Background())
	}
	if err != nil {
		t.Fatalf("not valid: %v\n%s", err, data)
	}
}

func tree(t tester, data []byte) (v map[string]any) {
	t.Helper()
	if !json.Valid(data) {
		var value any
		err := yaml.Unmarshal(data, &value)
		if err == nil {
			data, err = json.Marshal(value)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return v
}

// at returns what is at a path of member names.
func at(v any, path ...string) any {
	for _, name := range path {
		switch m := v.(type) {
		case map[string]any:
			v = m[name]
		case map[any]any:
			v = m[name]
		default:
			return nil
		}
	}
	return v
}

// comparison is of a document and what it has become.
type comparison struct{ before, after map[string]any }

func follow(root map[string]any, ref any) any {
	text, _ := ref.(string)
	return at(root, strings.Split(strings.TrimPrefix(text, "#/"), "/")...)
}

// says reports where new does not say what old says; "" if it says all of it. What old refers to may be written out, or
// be elsewhere.
func (c comparison) says(old, new any, where string) string {
	switch o := old.(type) {
	case map[string]any:
		n, ok := new.(map[string]any)
		if !ok {
			return where
		}
		if either, _ := n["anyOf"].([]any); len(either) == 2 {
			if ours, _ := at(either[1], "$ref").(string); strings.HasPrefix(ours, "#/components/schemas/Onceway") {
				return c.says(old, either[0], where+"(anyOf)")
			}
		}
		if o["$ref"] != nil && o["$ref"] != n["$ref"] {
			if n["$ref"] != nil {
				new = follow(c.after, n["$ref"])
			}
			return c.says(follow(c.before, o["$ref"]), new, fmt.Sprint(where, "->", o["$ref"]))
		}
		for name, value := range o {
			if bad := c.says(value, n[name], where+"/"+name); bad != "" {
				return bad
			}
		}
		return ""
	case []any:
		n, _ := new.([]any)
		if len(n) < len(o) {
			return where
		}
		for i := range o {
			if bad := c.says(o[i], n[i], fmt.Sprint(where, "/", i)); bad != "" {
				return bad
			}
		}
		return ""
	}
	if !reflect.DeepEqual(old, new) {
		return fmt.Sprintf("%s: %v became %v", where, old, new)
	}
	return ""
}

// lost returns what a document no longer says; "" if nothing.
func lost(t tester, before, after []byte) string {
	t.Helper()
	c := comparison{tree(t, before), tree(t, after)}
	return c.says(c.before, c.after, "")
}

// whole checks what holds for every decorated document.
func whole(t tester, data []byte, c *config.Config) decorate.Result {
	t.Helper()
	r := decorated(t, data, c)
	valid(t, r.Document)
	again := decorated(t, r.Document, c)
	if !bytes.Equal(again.Document, r.Document) {
		t.Fatalf("decorated twice:\n%s\nonce:\n%s", again.Document, r.Document)
	}
	if again.Operations != r.Operations {
		t.Fatalf("%d operations, the second time %d", r.Operations, again.Operations)
	}
	if bad := lost(t, data, r.Document); bad != "" {
		t.Fatalf("the document no longer says %s\n%s", bad, r.Document)
	}
	return r
}

func TestDocuments(t *testing.T) {
	files, err := filepath.Glob("testdata/*.[jy]*")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		for name, routes := range map[string]string{
			"every":    every,
			"none":     "- {name: all, match: {path: /**}, upstream: b, idempotency: {mode: 'off'}}\n",
			"optional": "- {name: all, match: {path: /**}, upstream: b, idempotency: {mode: optional, header: X-Request-Id, methods: [POST, PUT, DELETE]}}\n",
		} {
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				r := whole(t, data, configured(t, routes))
				before, after := tree(t, data), tree(t, r.Document)
				if name == "none" && (r.Operations != 0 || !reflect.DeepEqual(before, after)) {
					t.Errorf("%d operations of an unprotected document", r.Operations)
				}
				paths, _ := before["paths"].(map[string]any)
				for path, item := range paths {
					for _, method := range []string{"get", "put", "delete"} {
						if name != "optional" && !reflect.DeepEqual(at(item, method), at(after, "paths", path, method)) {
							t.Errorf("%s %s is not protected, and was changed", method, path)
						}
					}
				}
				if json.Valid(data) != json.Valid(r.Document) {
					t.Error("another language")
				}
			})
		}
	}
}

func TestOrders(t *testing.T) {
	data, err := os.ReadFile("testdata/orders.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := configured(t, "- {name: refunds, match: {path: /shop/orders/*/refunds}, upstream: b, idempotency: {mode: optional, header: Refund-Key}}\n"+
		"- {name: orders, match: {path: /shop/orders/**}, upstream: b}\n", "caller: {header: {name: X-User}}", "trusted_proxies: [10.0.0.0/8]", "limits: {in_flight: 3}")
	r := whole(t, data, c)
	if r.Operations != 3 {
		t.Errorf("%d operations", r.Operations)
	}
	want := []string{"PATCH /orders/{id}: the document calls Idempotency-Key optional, and the gateway requires it; the document is left as it is."}
	if !slices.Equal(r.Notes, want) {
		t.Errorf("notes: %q", r.Notes)
	}
	before, after := tree(t, data), tree(t, r.Document)
	for _, path := range [][]string{{"paths", "/orders", "get"}, {"paths", "/orders/{id}", "put"}, {"components", "schemas", "Order"}, {"components", "responses", "Conflict"}} {
		if !reflect.DeepEqual(at(before, path...), at(after, path...)) {
			t.Errorf("%v was changed: %v", path, at(after, path...))
		}
	}
	if lines := string(r.Document); !strings.HasPrefix(lines, "# The orders service, as its team describes it.\nopenapi: 3.1.0\n") ||
		!strings.Contains(lines, "# all that a basket becomes") || !strings.Contains(lines, "# made") || !strings.Contains(lines, "  # Orders of the customer.\n") {
		t.Errorf("comments are lost:\n%s", lines)
	}
	doc, err := openapi3.NewLoader().LoadFromData(r.Document)
	if err != nil {
		t.Fatal(err)
	}
	create := doc.Paths.Value("/orders").Post
	fields := func(op *openapi3.Operation) (all []string) {
		for _, p := range op.Parameters {
			if p.Value.In == "header" {
				all = append(all, fmt.Sprint(p.Value.Name, " ", p.Value.Required))
			}
		}
		return all
	}
	if got := fields(create); !slices.Equal(got, []string{"Idempotency-Key true", "Idempotency-First-Sent false", "Idempotency-Deadline false", "Prefer false"}) {
		t.Errorf("createOrder takes %q", got)
	}
	if got := fields(doc.Paths.Value("/orders/{id}/refunds").Post); !slices.Equal(got, []string{"Prefer false", "Refund-Key false", "Idempotency-First-Sent false", "Idempotency-Deadline false"}) {
		t.Errorf("refund takes %q", got)
	}
	for _, status := range []string{"201", "202", "400", "401", "409", "410", "412", "413", "421", "422", "425", "429", "500", "502", "503", "504"} {
		answer := create.Responses.Value(status)
		if answer == nil {
			t.Errorf("createOrder has no answer %s", status)
			continue
		}
		for _, field := range []string{"Idempotency-State", "Idempotency-Next", "Idempotent-Replayed", "Idempotency-Resolved", "Idempotency-Expires", "Link", "Retry-After"} {
			if answer.Value.Headers[field] == nil {
				t.Errorf("%s has no %s", status, field)
			}
		}
		problem := answer.Value.Content["application/problem+json"]
		if (problem != nil) != (status >= "400") {
			t.Errorf("%s: problems %v", status, problem != nil)
		}
	}
	if n := create.Responses.Len(); n != 16 {
		t.Errorf("%d answers", n)
	}
	conflict := create.Responses.Value("409").Value
	if *conflict.Description != "The basket has changed." || conflict.Content["application/json"] == nil {
		t.Errorf("%+v", conflict)
	}
	// Both are problems: the shop's and ours.
	for problem, ok := range map[string]bool{
		`{"detail":"too many"}`: true,
		`{"type":"t","code":"key-reused","title":"t","status":422,"detail":"d","state":"rejected","next":"stop"}`: true,
		`{"type":"t","code":"key-reused"}`: false,
	} {
		var v any
		if err := json.Unmarshal([]byte(problem), &v); err != nil {
			t.Fatal(err)
		}
		err := create.Responses.Value("422").Value.Content["application/problem+json"].Schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020())
		if (err == nil) != ok {
			t.Errorf("%s: %v", problem, err)
		}
	}
	// What the document says of other answers it also says of those that are described now.
	change := doc.Paths.Value("/orders/{id}").Patch.Responses.Value("504").Value
	if *change.Description != "A problem." || change.Content["application/json"] == nil || change.Content["application/problem+json"] == nil {
		t.Errorf("%+v", change)
	}
	refund := doc.Paths.Value("/orders/{id}/refunds").Post.Responses
	if schema := refund.Value("202").Value.Content["application/json"].Schema.Value; len(schema.AnyOf) != 2 || refund.Value("202").Value.Headers["Location"] == nil {
		t.Errorf("202: %+v", schema)
	}
	if refund.Value("409").Value.Content["application/json"] == nil || refund.Value("502").Value.Content["application/json"] != nil {
		t.Error("4XX is about 409, and not about 502")
	}
}

// Which operations are protected is what the gateway would say of their requests.
func TestMatching(t *testing.T) {
	const off = ", idempotency: {mode: 'off'}"
	for _, tt := range []struct {
		name, servers, path, routes string
		want                        int
		note                        string
	}{
		{"base path", "[{url: 'http://a/v1/'}]", "/orders", "- {name: o, match: {path: /v1/orders}, upstream: b}\n", 1, ""},
		{"no base path", "[]", "/orders", "- {name: o, match: {path: /v1/orders}, upstream: b}\n", 0, ""},
		{"relative base path", "[{url: v1}]", "/orders", "- {name: o, match: {path: /v1/orders}, upstream: b}\n", 1, ""},
		{"variable", "[{url: '/{v}', variables: {v: {default: v1}}}]", "/orders", "- {name: o, match: {path: /v1/orders}, upstream: b}\n", 1, ""},
		{"another spelling", "[{url: /%76%31}]", "/orders", "- {name: o, match: {path: /v1/orders}, upstream: b}\n", 1, ""},
		{"several servers", "[{url: /v1}, {url: /v2}]", "/orders", "- {name: o, match: {path: /v1/orders}, upstream: b}\n", 1, "depends on the server"},
		{"host", "[{url: 'https://Shop.example:8443'}]", "/orders", "- {name: o, match: {path: /**, host: shop.example}, upstream: b}\n", 1, ""},
		{"another host", "[{url: 'https://other.example'}]", "/orders", "- {name: o, match: {path: /**, host: shop.example}, upstream: b}\n", 0, ""},
		{"first match wins", "[]", "/orders", "- {name: o, match: {path: /orders}, upstream: b" + off + "}\n- {name: all, match: {path: /**}, upstream: b}\n", 0, ""},
		{"methods of a route", "[]", "/orders", "- {name: o, match: {path: /orders, methods: [PUT]}, upstream: b" + off + "}\n" + every, 1, ""},
		{"one segment", "[]", "/orders/{id}", "- {name: o, match: {path: /orders/*}, upstream: b}\n", 1, ""},
		{"part of a segment", "[]", "/orders/{id}.{format}", "- {name: o, match: {path: /orders/*}, upstream: b}\n", 1, ""},
		{"below", "[]", "/orders/{id}", "- {name: o, match: {path: /orders/**}, upstream: b}\n", 1, ""},
		{"too deep", "[]", "/orders/{id}/items", "- {name: o, match: {path: /orders/*}, upstream: b}\n", 0, ""},
		{"one of its paths", "[]", "/orders/{id}", "- {name: one, match: {path: /orders/one}, upstream: b" + off + "}\n" + every, 1, "some of its paths have the route one"},
		{"one of its paths, alike", "[]", "/orders/{id}", "- {name: one, match: {path: /orders/one}, upstream: b}\n" + every, 1, ""},
		{"only one of its paths", "[]", "/orders/{id}", "- {name: one, match: {path: /orders/one}, upstream: b}\n", 1, ""},
		{"never matched", "[]", "//orders", every, 0, "cannot be compared"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := fmt.Sprintf("openapi: 3.1.0\ninfo: {title: t, version: '1'}\nservers: %s\npaths:\n  %s:\n    post: {responses: {'204': {description: d}}}\n", tt.servers, tt.path)
			r := decorated(t, []byte(data), configured(t, tt.routes))
			if r.Operations != tt.want {
				t.Errorf("%d operations, want %d\n%s", r.Operations, tt.want, r.Document)
			}
			if notes := strings.Join(r.Notes, "\n"); (notes == "") != (tt.note == "") || !strings.Contains(notes, tt.note) {
				t.Errorf("notes: %s", notes)
			}
		})
	}
}

func TestServersOfPathsAndOperations(t *testing.T) {
	const data = `
openapi: 3.1.0
info: {title: t, version: '1'}
servers: [{url: /a}]
paths:
  /x:
    servers: [{url: /b}]
    post: {responses: {'204': {description: d}}}
    patch: {servers: [{url: /c}], responses: {'204': {description: d}}}
`
	for path, want := range map[string]int{"/a/x": 0, "/b/x": 1, "/c/x": 1, "/**": 2} {
		if r := decorated(t, []byte(data), configured(t, "- {name: r, match: {path: "+path+"}, upstream: b}\n")); r.Operations != want {
			t.Errorf("%s: %d operations", path, r.Operations)
		}
	}
}

// What both say something of is left as the document has it, and said.
func TestConflicts(t *testing.T) {
	const data = `
openapi: 3.1.0
info: {title: t, version: '1'}
paths:
  /x:
    post:
      parameters: [{$ref: '#/components/parameters/Key'}]
      responses:
        '200': {description: d, headers: {idempotency-state: {schema: {type: integer}}}}
        '409': {$ref: 'other.yaml#/Conflict'}
  /y: {$ref: 'other.yaml#/y'}
components:
  parameters:
    Key: {name: IDEMPOTENCY-KEY, in: header, schema: {type: string}}
  headers:
    OncewayNext: {schema: {type: integer}}
`
	r := decorated(t, []byte(data), configured(t, every))
	again := decorated(t, r.Document, configured(t, every))
	for _, want := range []string{
		"POST /x: the document calls Idempotency-Key optional, and the gateway requires it; the document is left as it is.",
		"POST /x: the answer 409 is described elsewhere (other.yaml#/Conflict), and is left as it is.",
		"POST /x: the answer 200 describes Idempotency-State itself; that is left as it is, and the gateway sets the field.",
		"components: headers OncewayNext is there, and is not what this version of the gateway would add; it is left as it is.",
		"/y: it is described elsewhere (other.yaml#/y), and is left as it is.",
	} {
		if !slices.Contains(r.Notes, want) {
			t.Errorf("it is not said that %s\n%q", want, r.Notes)
		}
	}
	if len(r.Notes) != 5 || !slices.Equal(r.Notes, again.Notes) || !bytes.Equal(r.Document, again.Document) {
		t.Errorf("notes: %q, then %q", r.Notes, again.Notes)
	}
	if bad := lost(t, []byte(data), r.Document); bad != "" {
		t.Errorf("the document no longer says %s", bad)
	}
}

func TestWhatIsNoDocument(t *testing.T) {
	for data, want := range map[string]string{
		"":                                       "neither JSON nor YAML",
		"a: [":                                   "neither JSON nor YAML",
		"{\"a\": 1":                              "neither JSON nor YAML",
		"[]":                                     "no member openapi",
		"swagger: '2.0'":                         "Swagger 2.0",
		"openapi: 4.0.0":                         "OpenAPI 4.0.0",
		"openapi: 3.1.0\n---\na: b":              "more than one YAML document",
		"openapi: 3.1.0\na: &a {b: *a}":          "an anchor contains itself",
		"openapi: 3.1.0\na: 1\na: 2":             "twice",
		`{"openapi":"3.0.0","a":1,"a":2}`:        "twice",
		"openapi: 3.1.0\npaths: {/x: {post: 1}}": "POST /x: it is no object",
		"openapi: 3.1.0\npaths: {/x: {post: {parameters: 1}}}":                "POST /x: parameters is no list",
		"openapi: 3.1.0\npaths: {/x: {post: {responses: []}}}":                "POST /x: responses is no object",
		"openapi: 3.1.0\ncomponents: 1\npaths: {/x: {post: {responses: {}}}}": "components is no object",
		"openapi: 3.1.0\n" + bomb():                                           "more than 131072 values",
	} {
		if _, err := decorate.Decorate([]byte(data), configured(t, every)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %s", data, err, want)
		}
	}
}

// bomb grows tenfold with each line.
func bomb() string {
	text := "a: &a {x: 1}\n"
	for c := 'b'; c < 'j'; c++ {
		text += fmt.Sprintf("%c: &%[1]c [%s]\n", c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 10), ", "))
	}
	return text
}

// An answer that many operations share is decorated once, for those that are protected.
func TestSharedAnswers(t *testing.T) {
	const data = `
openapi: 3.1.0
info: {title: t, version: '1'}
paths:
  /x:
    get: {responses: {default: {$ref: '#/components/responses/Error'}}}
    post: {responses: {default: {$ref: '#/components/responses/Error'}}}
    patch: {responses: {'204': {description: d}, '409': {$ref: '#/components/responses/Error'}}}
components:
  responses:
    Error: {description: An error., content: {text/plain: {schema: {type: string}}}}
`
	r := whole(t, []byte(data), configured(t, every))
	after := tree(t, r.Document)
	for path, want := range map[string]string{
		"get default": "Error", "post default": "Onceway_Error", "post 202": "Onceway_Error_Record", "post 409": "Onceway_Error_Problem",
		"post 504": "Onceway_Error_Problem", "patch 409": "Onceway_Error_Problem", "patch 504": "Onceway504",
	} {
		method, status, _ := strings.Cut(path, " ")
		if got := at(after, "paths", "/x", method, "responses", status, "$ref"); got != "#/components/responses/"+want {
			t.Errorf("%s: %v, want %s", path, got, want)
		}
	}
	if !reflect.DeepEqual(at(after, "components", "responses", "Error"), at(tree(t, []byte(data)), "components", "responses", "Error")) {
		t.Error("what an unprotected operation shares was changed")
	}
}
