package openapitest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"time"
)

// annotations say nothing about what is valid.
var annotations = []string{"description", "title", "examples", "default"}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// check holds a value against a schema. at is where it is.
func (d *Document) check(s node, v any, at string) error {
	for _, keyword := range slices.Sorted(maps.Keys(s)) {
		if slices.Contains(annotations, keyword) {
			continue
		}
		rule, ok := rules[keyword]
		if !ok {
			return fmt.Errorf("openapitest does not know the keyword %s", keyword)
		}
		if err := rule(d, s, v, at); err != nil {
			var known *mismatch
			if errors.As(err, &known) {
				return err
			}
			return &mismatch{at, err}
		}
	}
	return nil
}

// mismatch says where a value is not as it should be.
type mismatch struct {
	at  string
	err error
}

func (m *mismatch) Error() string { return "$" + m.at + " " + m.err.Error() }

var rules map[string]func(d *Document, s node, v any, at string) error

func init() {
	rules = map[string]func(d *Document, s node, v any, at string) error{
		"type": checkType, "enum": checkEnum, "required": checkRequired, "properties": checkProperties,
		"additionalProperties": checkAdditional, "items": checkItems, "minimum": checkMinimum, "format": checkFormat,
	}
}

func checkType(_ *Document, s node, v any, _ string) error {
	names, ok := s["type"].([]any)
	if !ok {
		names = []any{s["type"]}
	}
	for _, name := range names {
		if isA(v, name.(string)) {
			return nil
		}
	}
	return fmt.Errorf("is %T, want %v", v, names)
}

func isA(v any, name string) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case []any:
		return name == "array"
	case node:
		return name == "object"
	}
	return false
}

func checkEnum(_ *Document, s node, v any, _ string) error {
	if all := s["enum"].([]any); !slices.Contains(all, v) {
		return fmt.Errorf("is %v, want one of %v", v, all)
	}
	return nil
}

func checkRequired(_ *Document, s node, v any, _ string) error {
	o, ok := v.(node)
	if !ok {
		return nil
	}
	for _, name := range s["required"].([]any) {
		if _, ok := o[name.(string)]; !ok {
			return fmt.Errorf("has no member %v", name)
		}
	}
	return nil
}

func checkProperties(d *Document, s node, v any, at string) error {
	o, ok := v.(node)
	if !ok {
		return nil
	}
	properties := s["properties"].(node)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if member, ok := o[name]; ok {
			if err := d.check(d.object(properties[name]), member, at+"."+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkAdditional(d *Document, s node, v any, at string) error {
	o, ok := v.(node)
	if !ok {
		return nil
	}
	properties, _ := s["properties"].(node)
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if _, ok := properties[name]; ok {
			continue
		}
		if s["additionalProperties"] == false {
			return fmt.Errorf("has the member %s, which is not in the document", name)
		}
		if err := d.check(d.object(s["additionalProperties"]), o[name], at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func checkItems(d *Document, s node, v any, at string) error {
	list, ok := v.([]any)
	if !ok {
		return nil
	}
	for i, item := range list {
		if err := d.check(d.object(s["items"]), item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
			return err
		}
	}
	return nil
}

func checkMinimum(_ *Document, s node, v any, _ string) error {
	n, ok := v.(float64)
	if least, _ := s["minimum"].(int); ok && n < float64(least) {
		return fmt.Errorf("is %v, less than %d", n, least)
	}
	return nil
}

func checkFormat(_ *Document, s node, v any, _ string) error {
	text, ok := v.(string)
	if !ok {
		return nil
	}
	switch s["format"] {
	case "uuid":
		if !uuid.MatchString(text) {
			return fmt.Errorf("is no UUID: %q", text)
		}
	case "date-time":
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return err
		}
		if at.Location() != time.UTC {
			return fmt.Errorf("is not in UTC: %q", text)
		}
	default:
		return fmt.Errorf("openapitest does not know the format %v", s["format"])
	}
	return nil
}
