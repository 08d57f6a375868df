package decorate

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/route"
)

// Result is a decorated document.
type Result struct {
	Document []byte
	// Operations is how many operations the configuration protects.
	Operations int
	// Notes say where the document and the gateway speak of the same thing, or where the document does not say
	// enough: one sentence each, for people, in the document's order.
	Notes []string
}

// Decorate adds to a backend's OpenAPI 3.0 or 3.1 document, in JSON or YAML, what a gateway with this configuration
// adds to it. Paths are matched below those of the document's servers. The error says why it cannot be read.
func Decorate(data []byte, c *config.Config) (Result, error) {
	doc, err := parse(data)
	if err != nil {
		return Result{}, err
	}
	d := &decorator{document: doc, config: c, there: map[part]bool{}}
	if err := d.paths(); err != nil {
		return Result{}, err
	}
	out, err := d.bytes()
	return Result{Document: out, Operations: d.operations, Notes: d.notes}, err
}

// decorator is the work on one document.
type decorator struct {
	*document
	config     *config.Config
	operations int
	notes      []string
	there      map[part]bool // components that were added, or looked at
}

// note tells people something of an operation, or of a component, once.
func (d *decorator) note(at, format string, values ...any) {
	text := at + ": " + fmt.Sprintf(format, values...) + "."
	if !slices.Contains(d.notes, text) {
		d.notes = append(d.notes, text)
	}
}

// methods are the members of a path item that are operations.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

func (d *decorator) paths() error {
	all := get(d.root, "paths")
	for _, path := range names(all) {
		if !strings.HasPrefix(path, "/") {
			continue // an extension
		}
		item := get(all, path)
		if ref := get(item, "$ref"); ref != nil {
			d.note(path, "it is described elsewhere (%s), and is left as it is", ref.Value)
			continue
		}
		for _, method := range names(item) {
			if !slices.Contains(methods, method) {
				continue
			}
			if err := d.operation(path, method, item); err != nil {
				return fmt.Errorf("%s %s: %w", strings.ToUpper(method), path, err)
			}
		}
	}
	return nil
}

// operation decorates one operation, if the configuration protects it.
func (d *decorator) operation(path, method string, item *yaml.Node) error {
	at := strings.ToUpper(method) + " " + path
	op := get(item, method)
	if op.Kind != yaml.MappingNode {
		return errors.New("it is no object")
	}
	r, err := d.protectedBy(at, path, method, item)
	if err != nil || r == nil {
		return err
	}
	d.operations++
	for _, n := range []*yaml.Node{get(d.root, "paths"), item, op} {
		opened(n)
	}
	if err := d.request(at, r, item, op); err != nil {
		return err
	}
	responses, err := child(op, "responses")
	if err != nil {
		return err
	}
	for _, status := range problemsOf(d.config, r) {
		if err := d.answer(at, responses, strconv.Itoa(status), answer{problemText(status, d.config), problem.ContentType, problemSchema, nil}); err != nil {
			return err
		}
	}
	if err := d.answer(at, responses, strconv.Itoa(http.StatusAccepted), answer{asyncText, "application/json", recordSchema, asyncFields}); err != nil {
		return err
	}
	for _, status := range names(responses) {
		if !strings.HasPrefix(status, "x-") {
			if err := d.answer(at, responses, status, answer{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// protectedBy returns the route that protects an operation; nil if none does.
func (d *decorator) protectedBy(at, path, method string, item *yaml.Node) (*config.Route, error) {
	servers := get(d.root, "servers")
	for _, nearer := range []*yaml.Node{get(item, "servers"), get(get(item, method), "servers")} {
		if nearer != nil {
			servers = nearer
		}
	}
	places, err := placesOf(servers, path)
	if err != nil {
		d.note(at, "%v, so it is not known whether the gateway protects it", err)
		return nil, nil
	}
	method = strings.ToUpper(method)
	var by *config.Route
	for i, p := range places {
		r, some, err := routeOf(d.config.Routes, p, method)
		if err != nil {
			d.note(at, "its path cannot be compared with those of routes (%v), so it is left as it is", err)
			return nil, nil
		}
		for _, other := range some {
			if protection(other, method) != protection(r, method) {
				d.note(at, "some of its paths have the route %s; it is described as the route %s says", other.Name, r.Name)
			}
		}
		if r != nil && !route.Protected(r, method, http.Header{}) {
			r = nil
		}
		if i > 0 && protection(r, method) != protection(by, method) {
			d.note(at, "it depends on the server whether and how it is protected; it is described as for %s", places[0].pattern)
		}
		if i == 0 {
			by = r
		}
	}
	return by, nil
}

// protection is what of a route can be seen in a document.
func protection(r *config.Route, method string) string {
	if r == nil || !route.Protected(r, method, http.Header{}) {
		return ""
	}
	return fmt.Sprint(r.Idempotency.Mode, r.Idempotency.Header, r.RawPaths)
}

// request adds the fields of a protected request.
func (d *decorator) request(at string, r *config.Route, item, op *yaml.Node) error {
	parameters := get(op, "parameters")
	if parameters == nil {
		parameters = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	} else if parameters.Kind != yaml.SequenceNode {
		return errors.New("parameters is no list")
	}
	add := func(field string, p part, text string) error {
		ours := func(n *yaml.Node) bool { return referenceOf(n) == p.ref() }
		if !slices.ContainsFunc(parameters.Content, ours) {
			if theirs := d.parameter(field, parameters, get(item, "parameters")); theirs != nil {
				d.compare(at, r, field, theirs)
				return nil
			}
			parameters.Content = append(parameters.Content, reference(p.ref()))
			opened(parameters)
		}
		return d.component(p, func() (*yaml.Node, error) { return fragment(text), nil })
	}
	if err := add(r.Idempotency.Header, keyPart(r), keyText(r)); err != nil {
		return err
	}
	for _, f := range requestFields {
		text := fmt.Sprintf("{name: %s, in: header, description: %q, schema: %s}", f.field, f.about, f.schema)
		if err := add(f.field, part{"parameters", prefix + f.name}, text); err != nil {
			return err
		}
	}
	if len(parameters.Content) > 0 && get(op, "parameters") == nil {
		insertBefore(op, "parameters", parameters, "requestBody", "responses")
	}
	return nil
}

// parameter finds the description of a header field; nil if there is none.
func (d *decorator) parameter(field string, lists ...*yaml.Node) *yaml.Node {
	for _, list := range lists {
		if list == nil {
			continue
		}
		for _, n := range list.Content {
			p := d.follow(n)
			name, in := get(p, "name"), get(p, "in")
			if name != nil && in != nil && in.Value == "header" && strings.EqualFold(name.Value, field) {
				return p
			}
		}
	}
	return nil
}

// compare notes where the document says other things of the key than the gateway wants.
func (d *decorator) compare(at string, r *config.Route, field string, theirs *yaml.Node) {
	if field != r.Idempotency.Header {
		return
	}
	required := get(theirs, "required")
	says := required != nil && required.Value == "true"
	switch {
	case r.Idempotency.Mode == config.ModeRequired && !says:
		d.note(at, "the document calls %s optional, and the gateway requires it; the document is left as it is", field)
	case r.Idempotency.Mode == config.ModeOptional && says:
		d.note(at, "the document requires %s, and the gateway does without; the document is left as it is", field)
	}
}

// answer is what is added to the answers of one status. The zero value adds the headers of every answer.
type answer struct {
	text   string // of the answer where the document has none
	media  string
	schema part
	fields []struct{ field, about string }
}

// answer adds to the answers of one status, and describes that status if the document does not.
func (d *decorator) answer(at string, responses *yaml.Node, status string, a answer) error {
	theirs := get(responses, status)
	general := ""
	if theirs == nil {
		for _, name := range []string{status[:1] + "XX", "default"} {
			if theirs == nil && get(responses, name) != nil {
				theirs, general = get(responses, name), name
			}
		}
	}
	if p := (part{"responses", prefix + status}); a.text != "" && (theirs == nil || referenceOf(theirs) == p.ref()) {
		if theirs == nil {
			insert(responses, status, reference(p.ref()))
		}
		return d.component(p, func() (*yaml.Node, error) {
			whole := fragment(a.text)
			return whole, d.complete(at, status, whole, a)
		})
	}
	said := d.follow(theirs)
	if said == nil {
		d.note(at, "the answer %s is described elsewhere (%s), and is left as it is", status, referenceOf(theirs))
		return nil
	}
	mine := copyOf(said)
	if err := d.complete(at, status, mine, a); err != nil {
		return err
	}
	if general == "" && equal(mine, said) {
		return nil
	}
	// What a reference leads to belongs to other operations, too: those of ours share another one.
	if name, ok := strings.CutPrefix(referenceOf(theirs), "#/components/responses/"); ok {
		p := part{"responses", prefix + "_" + name + a.schema.suffix()}
		if err := d.component(p, func() (*yaml.Node, error) { return mine, nil }); err != nil {
			return err
		}
		mine = reference(p.ref())
	}
	if general != "" {
		insert(responses, status, mine)
	} else {
		set(responses, status, mine)
	}
	return nil
}

// complete adds to a description of an answer what it lacks.
func (d *decorator) complete(at, status string, response *yaml.Node, a answer) error {
	if get(response, "headers") == nil {
		insertBefore(response, "headers", mapping(), "content", "links")
	}
	headers, err := child(response, "headers")
	if err != nil {
		return err
	}
	for _, f := range answerFields {
		p := part{"headers", prefix + f.name}
		theirs := getFold(headers, f.field)
		if theirs != nil && referenceOf(theirs) != p.ref() {
			if strings.HasPrefix(f.field, "Idempo") {
				d.note(at, "the answer %s describes %s itself; that is left as it is, and the gateway sets the field", status, f.field)
			}
			continue
		}
		if theirs == nil {
			set(headers, f.field, reference(p.ref()))
		}
		text := fmt.Sprintf("{description: %q, schema: %s}", f.about, f.schema)
		if err := d.component(p, func() (*yaml.Node, error) { return fragment(text), nil }); err != nil {
			return err
		}
	}
	for _, f := range a.fields {
		if getFold(headers, f.field) == nil {
			set(headers, f.field, fragment(fmt.Sprintf("{description: %q, schema: {type: string}}", f.about)))
		}
	}
	if a.media == "" {
		return nil
	}
	if err := d.schemas(a.schema); err != nil {
		return err
	}
	content, err := child(response, "content")
	if err != nil {
		return err
	}
	return addSchema(content, a.media, a.schema.ref())
}

// addSchema lets content of a media type be as a schema says, too.
func addSchema(content *yaml.Node, media, ref string) error {
	ours := reference(ref)
	theirs := getFold(content, media)
	if theirs == nil {
		for _, general := range []string{media[:strings.IndexByte(media, '/')] + "/*", "*/*"} {
			if theirs == nil && get(content, general) != nil {
				theirs = copyOf(get(content, general))
			}
		}
		if theirs == nil {
			theirs = mapping()
			set(theirs, "schema", ours)
		}
		set(content, media, theirs)
	}
	if theirs.Kind != yaml.MappingNode {
		return fmt.Errorf("the content %s is no object", media)
	}
	schema := get(theirs, "schema")
	if schema == nil || referenceOf(schema) == ref {
		return nil // anything, or ours
	}
	either := get(schema, "anyOf")
	if either != nil && slices.ContainsFunc(either.Content, func(n *yaml.Node) bool { return referenceOf(n) == ref }) {
		return nil
	}
	choice := mapping()
	set(choice, "anyOf", &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{schema, ours}})
	set(theirs, "schema", choice)
	return nil
}

// component adds a component of ours, if it is not there yet.
func (d *decorator) component(p part, make func() (*yaml.Node, error)) error {
	if d.there[p] {
		return nil
	}
	d.there[p] = true
	components, err := child(d.root, "components")
	if err != nil {
		return err
	}
	kind, err := child(components, p.kind)
	if err != nil {
		return fmt.Errorf("components: %w", err)
	}
	ours, err := make()
	if err != nil {
		return err
	}
	if theirs := get(kind, p.name); theirs == nil {
		set(kind, p.name, ours)
	} else if !equal(theirs, ours) {
		d.note("components", "%s %s is there, and is not what this version of the gateway would add; it is left as it is", p.kind, p.name)
	}
	return nil
}

// schemas adds a schema of our own document, and those that it names.
func (d *decorator) schemas(p part) error {
	if d.there[p] {
		return nil
	}
	all := schemas(strings.TrimPrefix(p.name, prefix), d.older)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := d.component(part{"schemas", name}, func() (*yaml.Node, error) { return all[name], nil }); err != nil {
			return err
		}
	}
	return nil
}

// referenceOf returns where a node refers to; "" if it does not.
func referenceOf(n *yaml.Node) string {
	if ref := get(n, "$ref"); ref != nil {
		return ref.Value
	}
	return ""
}

// insertBefore adds a member before the first of others.
func insertBefore(n *yaml.Node, name string, value *yaml.Node, others ...string) {
	at := len(n.Content)
	for i := 0; i < len(n.Content); i += 2 {
		if slices.Contains(others, n.Content[i].Value) {
			at = i
			break
		}
	}
	n.Content = slices.Insert(n.Content, at, text(name), value)
	opened(n)
}
