package decorate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is a parsed OpenAPI document.
type document struct {
	root  *yaml.Node // a mapping
	whole *yaml.Node // the YAML document around it; nil for JSON
	older bool       // 3.0, where null is no type
}

// parse reads JSON or YAML.
func parse(data []byte) (*document, error) {
	d := &document{}
	if json.Valid(data) {
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		var err error
		if d.root, err = fromJSON(decoder); err != nil {
			return nil, err
		}
	} else {
		decoder := yaml.NewDecoder(bytes.NewReader(data))
		d.whole = &yaml.Node{}
		if err := decoder.Decode(d.whole); err != nil {
			return nil, fmt.Errorf("it is neither JSON nor YAML: %w", err)
		}
		if decoder.Decode(new(yaml.Node)) != io.EOF {
			return nil, errors.New("there is more than one YAML document in it")
		}
		d.root = d.whole.Content[0]
	}
	if err := (&writer{left: mostNodes}).writeOut(d.root); err != nil {
		return nil, err
	}
	version := get(d.root, "openapi")
	switch {
	case get(d.root, "swagger") != nil:
		return nil, errors.New("it is a Swagger 2.0 document; convert it to OpenAPI 3 first")
	case version == nil || version.Kind != yaml.ScalarNode:
		return nil, errors.New("it has no member openapi, so it is no OpenAPI document")
	case strings.HasPrefix(version.Value, "3.0."):
		d.older = true
	case !strings.HasPrefix(version.Value, "3.1."):
		return nil, fmt.Errorf("it is an OpenAPI %s document; 3.0 and 3.1 are understood", version.Value)
	}
	return d, nil
}

// bytes writes the document in the language that it came in.
func (d *document) bytes() ([]byte, error) {
	var b bytes.Buffer
	if d.whole == nil {
		writeJSON(&b, d.root, "\n")
		b.WriteByte('\n')
		return b.Bytes(), nil
	}
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(d.whole); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// find follows a reference inside of the document; nil if it leads elsewhere.
func (d *document) find(ref string) *yaml.Node {
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil
	}
	n := d.root
	for name := range strings.SplitSeq(path, "/") {
		if n = get(n, strings.NewReplacer("~1", "/", "~0", "~").Replace(name)); n == nil {
			return nil
		}
	}
	return n
}

// mostReferences is how many references may lead to each other.
const mostReferences = 20

// follow returns what a node says, past references; nil if that lies elsewhere.
func (d *document) follow(n *yaml.Node) *yaml.Node {
	for range mostReferences {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		ref := get(n, "$ref")
		if ref == nil {
			return n
		}
		n = d.find(ref.Value)
	}
	return nil
}
