package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type schemaNode struct {
	Ref                  string                `json:"$ref"`
	Properties           map[string]schemaNode `json:"properties"`
	AdditionalProperties json.RawMessage       `json:"additionalProperties"`
	Items                *schemaNode           `json:"items"`
	Required             []string              `json:"required"`
	Enum                 []string              `json:"enum"`
	Default              any                   `json:"default"`
}

type schemaDocument struct {
	schemaNode
	Defs map[string]schemaNode `json:"$defs"`
}

func readSchema(t *testing.T) schemaDocument {
	t.Helper()
	var s schemaDocument
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s schemaDocument) resolve(n schemaNode) schemaNode {
	if name, ok := strings.CutPrefix(n.Ref, "#/$defs/"); ok {
		def := s.Defs[name]
		if n.Default != nil {
			def.Default = n.Default
		}
		return def
	}
	return n
}

// walk visits every mapping and value of the schema with its path; {} is any key, [] any element.
func (s schemaDocument) walk(path string, n schemaNode, visit func(path string, n schemaNode)) {
	n = s.resolve(n)
	visit(path, n)
	for _, key := range slices.Sorted(maps.Keys(n.Properties)) {
		s.walk(join(path, key), n.Properties[key], visit)
	}
	if n.Items != nil {
		s.walk(path+"[]", *n.Items, visit)
	}
	var each schemaNode
	if json.Unmarshal(n.AdditionalProperties, &each) == nil && string(n.AdditionalProperties) != "false" && n.AdditionalProperties != nil {
		s.walk(path+".{}", each, visit)
	}
}

// wrap writes a file that has value at path and nothing else.
func wrap(path, value string) string {
	if path == "" {
		return value
	}
	if head, ok := strings.CutSuffix(path, "[]"); ok {
		return wrap(head, "["+value+"]")
	}
	i := strings.LastIndexByte(path, '.')
	key := strings.ReplaceAll(path[i+1:], "{}", "any")
	return wrap(path[:max(0, i)], "{"+key+": "+value+"}")
}

// The parser itself lists the keys of every mapping: it names them when it meets an unknown one.
func TestSchemaHasTheKeysOfTheParser(t *testing.T) {
	s, mappings := readSchema(t), 0
	s.walk("", s.schemaNode, func(path string, n schemaNode) {
		if n.Properties == nil {
			return
		}
		mappings++
		_, err := load(t, wrap(path, "{no_such_key: 1}"))
		for _, p := range problems(t, err) {
			if strings.HasSuffix(p.Path, "no_such_key") {
				if want := slices.Sorted(maps.Keys(n.Properties)); !slices.Equal(p.Allowed, want) {
					t.Errorf("%s: the parser has %v, the schema %v", path, p.Allowed, want)
				}
				if string(n.AdditionalProperties) != "false" {
					t.Errorf("%s: the schema allows unknown keys", path)
				}
				return
			}
		}
		t.Errorf("%s: the parser does not know this mapping: %v", path, err)
	})
	if mappings != 21 {
		t.Errorf("%d mappings were compared; was one lost from both sides?", mappings)
	}
}

func TestSchemaHasTheWordsOfTheParser(t *testing.T) {
	s := readSchema(t)
	s.walk("", s.schemaNode, func(path string, n schemaNode) {
		if n.Enum == nil {
			return
		}
		_, err := load(t, wrap(path, "no-such-word"))
		i := slices.IndexFunc(problems(t, err), func(p Problem) bool { return strings.Contains(p.Message, "no-such-word") })
		if i < 0 || !slices.Equal(problems(t, err)[i].Allowed, n.Enum) {
			t.Errorf("%s: the schema has %v, the parser says %v", path, n.Enum, err)
		}
	})
}

// Every key that the printed defaults have has that default in the schema, and the other way round.
func TestSchemaHasTheDefaultsOfTheParser(t *testing.T) {
	var printed any
	if err := yaml.Unmarshal(mustLoad(t, least).YAML(), &printed); err != nil {
		t.Fatal(err)
	}
	s, compared := readSchema(t), 0
	s.walk("", s.schemaNode, func(path string, n schemaNode) {
		if n.Default == nil {
			return
		}
		compared++
		got, ok := at(printed, path)
		if !ok {
			t.Errorf("%s: has a default, but is not printed", path)
			return
		}
		want := n.Default
		if text, ok := want.(string); ok {
			if d, err := parseDuration(text); err == nil {
				want = formatDuration(d)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: the default is %v, in the schema %v", path, got, want)
		}
	})
	if compared < 45 {
		t.Errorf("only %d defaults were compared", compared)
	}
}

// at follows a path of walk through the first upstream and the first route.
func at(v any, path string) (any, bool) {
	for key := range strings.SplitSeq(strings.ReplaceAll(path, "[]", ".[]"), ".") {
		switch node := v.(type) {
		case map[string]any:
			if key == "{}" {
				key = "orders"
			}
			var ok bool
			if v, ok = node[key]; !ok {
				return nil, false
			}
		case []any:
			if len(node) == 0 {
				return nil, false
			}
			v = node[0]
		default:
			return nil, false
		}
	}
	return v, true
}
