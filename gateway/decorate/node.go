package decorate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// get returns the member of a mapping; nil if there is none.
func get(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// getFold is get for names of header fields, whose case does not matter.
func getFold(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if strings.EqualFold(n.Content[i].Value, name) {
			return n.Content[i+1]
		}
	}
	return nil
}

// names returns the names of a mapping's members, in their order.
func names(n *yaml.Node) (all []string) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		all = append(all, n.Content[i].Value)
	}
	return all
}

// set replaces a member, or adds it as the last.
func set(n *yaml.Node, name string, value *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			n.Content[i+1] = value
			return
		}
	}
	n.Content = append(n.Content, text(name), value)
	opened(n)
}

// insert adds a member before the first whose name is greater.
func insert(n *yaml.Node, name string, value *yaml.Node) {
	at := len(n.Content)
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value > name && !strings.HasPrefix(n.Content[i].Value, "x-") {
			at = i
			break
		}
	}
	n.Content = slices.Insert(n.Content, at, text(name), value)
	opened(n)
}

// opened gives what is in a node lines of their own, because it is about to become long.
func opened(n *yaml.Node) { n.Style &^= yaml.FlowStyle }

// child returns a member that is a mapping and to which something is to be added; it is made if there is none.
func child(n *yaml.Node, name string) (*yaml.Node, error) {
	c := get(n, name)
	if c == nil || c.Tag == "!!null" {
		c = mapping()
		set(n, name, c)
	}
	if c.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s is no object", name)
	}
	opened(c)
	return c, nil
}

func mapping() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"} }

func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

func reference(to string) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: yaml.FlowStyle, Content: []*yaml.Node{text("$ref"), text(to)}}
}

// copyOf copies a node with all that is below it.
func copyOf(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i := range n.Content {
		c.Content[i] = copyOf(n.Content[i])
	}
	return &c
}

// equal compares what two nodes say, whatever the order of members.
func equal(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Value != b.Value || len(a.Content) != len(b.Content) || a.ShortTag() != b.ShortTag() {
		return false
	}
	for i := range a.Content {
		switch {
		case a.Kind != yaml.MappingNode:
			if !equal(a.Content[i], b.Content[i]) {
				return false
			}
		case i%2 == 0:
			if other := get(b, a.Content[i].Value); other == nil || !equal(a.Content[i+1], other) {
				return false
			}
		}
	}
	return true
}

// mostNodes is how many values a document's anchors may become when they are written out.
const mostNodes = 1 << 17

// writer replaces aliases and merge keys by what they stand for: what is added to an operation must not turn up
// wherever else its node is used.
type writer struct {
	left int          // values
	in   []*yaml.Node // anchors that are being written out
}

func (w *writer) writeOut(n *yaml.Node) error {
	if len(w.in) > 0 {
		w.left--
	}
	if w.left < 0 {
		return fmt.Errorf("its anchors stand for more than %d values", mostNodes)
	}
	if n.Kind == yaml.AliasNode {
		if slices.Contains(w.in, n.Alias) {
			return errors.New("an anchor contains itself")
		}
		w.in = append(w.in, n.Alias)
		defer func() { w.in = w.in[:len(w.in)-1] }()
		comments := [...]string{n.HeadComment, n.LineComment, n.FootComment}
		*n = *copyOf(n.Alias)
		n.HeadComment, n.LineComment, n.FootComment = comments[0], comments[1], comments[2]
	}
	n.Anchor = ""
	for _, c := range n.Content {
		if err := w.writeOut(c); err != nil {
			return err
		}
	}
	if n.Kind != yaml.MappingNode {
		return nil
	}
	if err := merge(n); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, name := range names(n) {
		if seen[name] {
			return fmt.Errorf("line %d: the member %q is there twice", n.Line, name)
		}
		seen[name] = true
	}
	return nil
}

// merge puts the members of what << names in its place, but for those that the mapping has itself.
func merge(n *yaml.Node) error {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		sources := []*yaml.Node{n.Content[i+1]}
		if sources[0].Kind == yaml.SequenceNode {
			sources = sources[0].Content
		}
		n.Content = slices.Delete(n.Content, i, i+2)
		for _, source := range sources {
			if source.Kind != yaml.MappingNode {
				return fmt.Errorf("line %d: << names no object", source.Line)
			}
			for j := 0; j+1 < len(source.Content); j += 2 {
				if get(n, source.Content[j].Value) == nil {
					n.Content = slices.Insert(n.Content, i, source.Content[j], source.Content[j+1])
					i += 2
				}
			}
		}
		i -= 2
	}
	return nil
}

// fromJSON reads a value with the order of its members.
func fromJSON(d *json.Decoder) (*yaml.Node, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		n := mapping()
		if t == '[' {
			n = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		}
		for d.More() {
			if t == '{' {
				name, err := d.Token()
				if err != nil {
					return nil, err
				}
				n.Content = append(n.Content, text(name.(string)))
			}
			value, err := fromJSON(d)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, value)
		}
		_, err = d.Token()
		return n, err
	case string:
		return text(t), nil
	case json.Number:
		tag := "!!int"
		if strings.ContainsAny(t.String(), ".eE") {
			tag = "!!float"
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: t.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(t)}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
}

// writeJSON writes a node that came from JSON, or is a part of ours. line begins a line.
func writeJSON(b *bytes.Buffer, n *yaml.Node, line string) {
	open, end := "{", "}"
	switch n.Kind {
	case yaml.SequenceNode:
		open, end = "[", "]"
	case yaml.MappingNode:
	default:
		if n.ShortTag() == "!!str" {
			writeString(b, n.Value)
		} else {
			b.WriteString(n.Value)
		}
		return
	}
	b.WriteString(open)
	for i := 0; i < len(n.Content); i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(line + "  ")
		if n.Kind == yaml.MappingNode {
			writeString(b, n.Content[i].Value)
			b.WriteString(": ")
			i++
		}
		writeJSON(b, n.Content[i], line+"  ")
	}
	if len(n.Content) > 0 {
		b.WriteString(line)
	}
	b.WriteString(end)
}

func writeString(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string cannot fail
	b.Truncate(b.Len() - 1)
}
