package openapitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// node is an object of the document.
type node = map[string]any

// Document is a parsed OpenAPI document.
type Document struct{ root node }

// Load reads a document.
func Load(path string) (*Document, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// Parse reads a document.
func Parse(text []byte) (*Document, error) {
	d := &Document{}
	return d, yaml.Unmarshal(text, &d.root)
}

// LoadAltered reads a document with another text in place of one, so that it is wrong about answers that are right: a
// test that holds answers against documents has to notice that.
func LoadAltered(path, from, to string) (*Document, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	altered := strings.ReplaceAll(string(text), from, to)
	if altered == string(text) {
		return nil, fmt.Errorf("%s: there is no %q to alter", path, from)
	}
	return Parse([]byte(altered))
}

// Answer is what is held against a document.
type Answer struct {
	Method string
	Path   string // without the query, as it went on the wire
	Status int
	Header http.Header
	Body   []byte
}

// Check returns what about an answer is not as the document says; nil if nothing.
func (d *Document) Check(a Answer) error {
	operation, template, err := d.operation(a.Method, a.Path)
	if err != nil {
		return err
	}
	at := fmt.Sprintf("%s %s: %d", a.Method, template, a.Status)
	responses := d.object(operation["responses"])
	response, ok := responses[strconv.Itoa(a.Status)]
	if !ok {
		if response, ok = responses["default"]; !ok || a.Status < 400 {
			return fmt.Errorf("%s is not in the document", at)
		}
	}
	r := d.object(response)
	for _, name := range slices.Sorted(maps.Keys(d.object(r["headers"]))) {
		if err := d.checkHeader(d.object(d.object(r["headers"])[name]), a.Header.Values(name)); err != nil {
			return fmt.Errorf("%s: the header %s %w", at, name, err)
		}
	}
	if a.Method == http.MethodHead {
		return nil
	}
	return d.checkContent(at, d.object(r["content"]), a)
}

// Has reports whether a path, without its query, is one of the document's.
func (d *Document) Has(path string) bool {
	for template := range d.object(d.root["paths"]) {
		if fits(template, path) {
			return true
		}
	}
	return false
}

// operation finds a path by its template. A concrete path wins over one with parameters.
func (d *Document) operation(method, path string) (node, string, error) {
	templates := []string{}
	for template := range d.object(d.root["paths"]) {
		if fits(template, path) {
			templates = append(templates, template)
		}
	}
	if len(templates) == 0 {
		return nil, "", fmt.Errorf("the path %s is not in the document", path)
	}
	slices.SortFunc(templates, func(a, b string) int { return strings.Count(a, "{") - strings.Count(b, "{") })
	item := d.object(d.object(d.root["paths"])[templates[0]])
	if method == http.MethodHead {
		method = http.MethodGet
	}
	operation, ok := item[strings.ToLower(method)]
	if !ok {
		// Whatever is refused may be refused with the problem of any of the path's calls.
		for _, other := range []string{"get", "post", "put"} {
			if operation, ok = item[other]; ok {
				break
			}
		}
	}
	return d.object(operation), templates[0], nil
}

func fits(template, path string) bool {
	t, p := strings.Split(template, "/"), strings.Split(path, "/")
	if len(t) != len(p) {
		return false
	}
	for i := range t {
		if t[i] != p[i] && (!strings.HasPrefix(t[i], "{") || p[i] == "") {
			return false
		}
	}
	return true
}

// checkHeader holds a field against its description. Where it came in several lines, each is a value.
func (d *Document) checkHeader(header node, lines []string) error {
	if required, _ := header["required"].(bool); required && len(lines) == 0 {
		return errors.New("is missing")
	}
	schema := d.object(header["schema"])
	for _, line := range lines {
		value := any(line)
		if n, err := strconv.ParseFloat(line, 64); err == nil && schema["type"] == "integer" {
			value = n
		}
		if err := d.check(schema, value, ""); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) checkContent(at string, content node, a Answer) error {
	if len(content) == 0 {
		if len(a.Body) > 0 {
			return fmt.Errorf("%s: a body, where the document has none", at)
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("%s: Content-Type: %w", at, err)
	}
	media, ok := content[kind]
	if !ok {
		if media, ok = content["*/*"]; !ok {
			return fmt.Errorf("%s: content of type %s is not in the document", at, kind)
		}
	}
	schema, ok := d.object(media)["schema"]
	if !ok {
		return nil
	}
	value := any(string(a.Body))
	if strings.HasSuffix(kind, "json") {
		if err := json.Unmarshal(a.Body, &value); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	if err := d.check(d.object(schema), value, ""); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// object follows references.
func (d *Document) object(v any) node {
	n, _ := v.(node)
	ref, ok := n["$ref"].(string)
	if !ok {
		return n
	}
	target := any(d.root)
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		target = target.(node)[part]
	}
	if target == nil {
		panic("openapitest: no such reference: " + ref)
	}
	return d.object(target)
}
