package openapi_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/onceway/onceway/gateway/admin"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// The document is written by hand. These tests hold it to the types that the API answers with.

func TestOperatorsSchemasHaveTheMembersOfTheTypes(t *testing.T) {
	doc := load(t, "admin.yaml")
	for name, value := range map[string]any{
		"Record": admin.Record{}, "List": admin.List{}, "Instances": admin.Instances{}, "Evidence": admin.Evidence{}, "Resolution": admin.Resolution{},
	} {
		compare(t, doc, name, doc.Components.Schemas[name], reflect.TypeOf(value))
	}
	var states []string
	for _, s := range idempotency.States() {
		states = append(states, s.String())
	}
	same(t, "RecordState", doc.Components.Schemas["RecordState"].Enum, states)
}

func compare(t *testing.T, doc document, at string, s schema, typ reflect.Type) {
	t.Helper()
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		s = doc.Components.Schemas[name]
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	var members []string
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		members = append(members, name)
		field := typ.Field(i).Type
		below := s.Properties[name]
		for field.Kind() == reflect.Pointer || field.Kind() == reflect.Slice {
			if field.Kind() == reflect.Slice && below.Items != nil {
				below = *below.Items
			}
			field = field.Elem()
		}
		if field.Kind() == reflect.Struct && field.Name() != "Time" {
			compare(t, doc, at+"."+name, below, field)
		}
	}
	var documented []string
	for name := range s.Properties {
		documented = append(documented, name)
	}
	slices.Sort(members)
	slices.Sort(documented)
	if !slices.Equal(members, documented) {
		t.Errorf("%s: the document has %v, the type %v", at, documented, members)
	}
}

func TestStatesAndNextsAreThoseOfTheProtocol(t *testing.T) {
	doc := load(t, "reconciliation.yaml")
	var states []string
	for _, s := range idempotency.States() {
		states = append(states, s.String())
	}
	same(t, "RecordState", doc.Components.Schemas["RecordState"].Enum, states)
	same(t, "State", doc.Components.Schemas["State"].Enum, append(states, problem.Unseen.String(), problem.Rejected.String()))
	var nexts []string
	for n := problem.Done; n <= problem.Stop; n++ {
		nexts = append(nexts, n.String())
	}
	same(t, "Next", doc.Components.Schemas["Next"].Enum, nexts)
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: the document has %v, the program %v", what, got, want)
	}
}

type document struct {
	Components struct {
		Schemas map[string]schema `yaml:"schemas"`
	} `yaml:"components"`
}

type schema struct {
	Properties map[string]schema `yaml:"properties"`
	Enum       []string          `yaml:"enum"`
	Items      *schema           `yaml:"items"`
	Ref        string            `yaml:"$ref"`
}

func load(t *testing.T, name string) (doc document) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err == nil {
		err = yaml.Unmarshal(text, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
