package openapi_test

import (
	"os"
	"reflect"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// The documents are written by hand. These tests hold them to the words of the program.

func TestStatesAndNextsAreThoseOfTheProtocol(t *testing.T) {
	reconciliation, admin := schemasOf(t, "reconciliation.yaml"), schemasOf(t, "admin.yaml")
	var states []string
	for _, s := range idempotency.States() {
		states = append(states, s.String())
	}
	var nexts []string
	for n := problem.Done; n <= problem.Stop; n++ {
		nexts = append(nexts, n.String())
	}
	same(t, "RecordState", enum(reconciliation["RecordState"]), states)
	same(t, "operators' RecordState", enum(admin["RecordState"]), states)
	same(t, "State", enum(reconciliation["State"]), append(states, problem.Unseen.String(), problem.Rejected.String()))
	same(t, "Next", enum(reconciliation["Next"]), nexts)
	same(t, "operators' Next", enum(admin["Next"]), nexts)
}

// What both documents say of a record is one type in Go.
func TestSharedSchemasAreTheSame(t *testing.T) {
	reconciliation, admin := schemasOf(t, "reconciliation.yaml"), schemasOf(t, "admin.yaml")
	for one, other := range map[string]string{
		"Request": "Request", "Response": "Response", "Times": "Times", "Resolution": "RecordResolution", "Instant": "Instant", "Problem": "Problem",
	} {
		if a, b := withoutDescriptions(reconciliation[one]), withoutDescriptions(admin[other]); a == nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%s is\n%v\nand for operators\n%v", one, a, b)
		}
	}
}

func withoutDescriptions(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range v {
			if _, text := member.(string); name != "description" || !text {
				out[name] = withoutDescriptions(member)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = withoutDescriptions(v[i])
		}
		return out
	}
	return v
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: the document has %v, the program %v", what, got, want)
	}
}

func enum(schema any) (values []string) {
	for _, v := range schema.(map[string]any)["enum"].([]any) {
		values = append(values, v.(string))
	}
	return values
}

func schemasOf(t *testing.T, name string) map[string]any {
	t.Helper()
	var doc struct {
		Components struct{ Schemas map[string]any }
	}
	text, err := os.ReadFile(name)
	if err == nil {
		err = yaml.Unmarshal(text, &doc)
	}
	if err != nil {
		t.Fatal(err)
	}
	return doc.Components.Schemas
}
