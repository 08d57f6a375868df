package decorate_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/onceway/onceway/gateway/config"
)

// What documents are made of. Each piece is one that real documents have.
var (
	somePaths      = []string{"/", "/orders", "/orders/{id}", "/orders/{id}/items", "/files/{name}.{ext}", "/v2/orders", "/other"}
	someServers    = []string{"", "servers: []", "servers: [{url: /}]", "servers: [{url: 'https://api.example/v2'}]", "servers: [{url: '{base}', variables: {base: {default: /v2}}}]"}
	someMethods    = []string{"get", "post", "put", "patch", "delete"}
	someParameters = []string{
		"{name: page, in: query, schema: {type: integer}}", "{name: idempotency-KEY, in: header, schema: {type: string}}",
		"{name: Prefer, in: header, schema: {type: string}}", "{$ref: '#/components/parameters/Tenant'}", "{$ref: '#/components/parameters/Key'}",
	}
	someStatuses  = []string{"200", "201", "202", "204", "400", "409", "422", "503", "4XX", "5XX", "default"}
	someResponses = []string{
		"{description: d}", "{description: d, headers: {}}", "{description: d, headers: {retry-after: {schema: {type: integer}}}}",
		"{description: d, headers: {Link: {$ref: '#/components/headers/Paging'}}}", "{description: d, headers: {Idempotency-Next: {schema: {type: string}}}}",
		"{description: d, content: {application/json: {schema: {$ref: '#/components/schemas/Thing'}}}}",
		"{description: d, content: {application/problem+json: {schema: {type: object, properties: {code: {type: integer}}}}}}",
		"{description: d, content: {application/problem+json: {schema: {anyOf: [{type: object}, {$ref: '#/components/schemas/Thing'}]}}}}",
		"{description: d, content: {application/json: {}, '*/*': {schema: {type: string}}}}",
		"{description: d, content: {'application/*': {schema: {type: object}}}}",
		"{$ref: '#/components/responses/Shared'}", "{$ref: '#/components/responses/Again'}",
	}
	someRoutes = []string{
		"{name: %s, match: {path: /**}, upstream: b}", "{name: %s, match: {path: /orders/**}, upstream: b, idempotency: {mode: optional}}",
		"{name: %s, match: {path: /orders/*}, upstream: b, idempotency: {header: X-Key, methods: [PUT, POST, DELETE]}}",
		"{name: %s, match: {path: /v2/orders, methods: [POST]}, upstream: b, raw_paths: true}",
		"{name: %s, match: {path: /orders/one}, upstream: b, idempotency: {mode: 'off'}}", "{name: %s, match: {path: /**, host: api.example}, upstream: b}",
	}
	components = `components:
  headers: {Paging: {description: Next page., schema: {type: string}}}
  parameters:
    Tenant: {name: X-Tenant, in: header, schema: {type: string}}
    Key: {name: Idempotency-Key, in: header, required: true, schema: {type: string}}
  responses:
    Shared: {description: Shared., content: {application/json: {schema: {$ref: '#/components/schemas/Thing'}}}}
    Again: {$ref: '#/components/responses/Shared'}
  schemas: {Thing: {type: object, required: [id], properties: {id: {type: string}}}}
`
)

func drawDocument(t *rapid.T) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "openapi: %s\ninfo: {title: T, version: '1'} # of the team\n%s\npaths:\n", rapid.SampledFrom([]string{"3.0.3", "3.1.0"}).Draw(t, "version"),
		rapid.SampledFrom(someServers).Draw(t, "servers"))
	for _, path := range rapid.SliceOfNDistinct(rapid.SampledFrom(somePaths), 1, 4, rapid.ID[string]).Draw(t, "paths") {
		fmt.Fprintf(&b, "  %s:\n", path)
		var inPath []string
		for _, name := range []string{"id", "name", "ext"} {
			if strings.Contains(path, "{"+name+"}") {
				inPath = append(inPath, "{name: "+name+", in: path, required: true, schema: {type: string}}")
			}
		}
		fmt.Fprintf(&b, "    parameters: [%s]\n", strings.Join(inPath, ", "))
		for _, method := range rapid.SliceOfNDistinct(rapid.SampledFrom(someMethods), 1, 3, rapid.ID[string]).Draw(t, "methods") {
			fmt.Fprintf(&b, "    %s:\n", method)
			// A field is described once, so those that describe the key exclude each other.
			parameters := rapid.SliceOfNDistinct(rapid.SampledFrom(someParameters), 0, 3, func(p string) string {
				if strings.Contains(strings.ToLower(p), "key") {
					return "key"
				}
				return p
			}).Draw(t, "parameters")
			if len(parameters) > 0 || rapid.Bool().Draw(t, "empty") {
				fmt.Fprintf(&b, "      parameters: [%s]\n", strings.Join(parameters, ", "))
			}
			b.WriteString("      responses: # as they come\n")
			for _, status := range rapid.SliceOfNDistinct(rapid.SampledFrom(someStatuses), 1, 5, rapid.ID[string]).Draw(t, "statuses") {
				fmt.Fprintf(&b, "        '%s': %s\n", status, rapid.SampledFrom(someResponses).Draw(t, "response"))
			}
		}
	}
	b.WriteString(components)
	return []byte(b.String())
}

func drawConfig(t *rapid.T, outer *testing.T) *config.Config {
	routes := ""
	for i, r := range rapid.SliceOfN(rapid.SampledFrom(someRoutes), 1, 3).Draw(t, "routes") {
		routes += "- " + fmt.Sprintf(r, fmt.Sprint("r", i)) + "\n"
	}
	if rapid.Bool().Draw(t, "limited") {
		return configured(outer, routes, "caller: {header: {name: X-User}}", "trusted_proxies: [10.0.0.0/8]", "limits: {requests_per_second: 3}")
	}
	return configured(outer, routes)
}

// Whatever a document says, it says it afterwards, is valid, and is the same when it is decorated again; as YAML and
// as JSON alike.
func TestAnyDocument(t *testing.T) {
	fewer(t)
	rapid.Check(t, func(rt *rapid.T) {
		data, c := drawDocument(rt), drawConfig(rt, t)
		asYAML := whole(rt, data, c)
		text, err := json.Marshal(tree(rt, data))
		if err != nil {
			rt.Fatal(err)
		}
		asJSON := whole(rt, text, c)
		if asYAML.Operations != asJSON.Operations || !reflect.DeepEqual(tree(rt, asYAML.Document), tree(rt, asJSON.Document)) {
			rt.Fatalf("YAML:\n%s\nJSON:\n%s", asYAML.Document, asJSON.Document)
		}
	})
}

// fewer documents than usual are drawn, because a validator is slow under the race detector; -rapid.checks=N is heard.
func fewer(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if checks == nil || checks.Value.String() != checks.DefValue {
		return
	}
	_ = checks.Value.Set("12")
	t.Cleanup(func() { _ = checks.Value.Set(checks.DefValue) })
}
