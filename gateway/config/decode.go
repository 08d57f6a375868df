package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// decoder walks the nodes of one file. It collects problems instead of stopping at the first, and
// remembers where each setting stands, for the checks that compare several.
type decoder struct {
	file     string
	dir      string // of the file; empty without one
	lookup   Lookup
	asked    map[string]bool       // variables that lookup was asked for
	files    ReadFile              // may be nil
	dsn      ReadDSN               // may be nil
	origins  map[*yaml.Node]string // flag or variable that a node was made from
	places   map[string]place      // of every setting that is there, by path
	problems []Problem
	warnings []Warning
}

// place is where a setting stands.
type place struct {
	file string
	line int
}

// field reads the value of one key.
type field func(path string, n *yaml.Node)

// fields are the keys of one mapping.
type fields map[string]field

func (d *decoder) placeOf(n *yaml.Node) place {
	p := place{file: d.file, line: n.Line}
	if origin, ok := d.origins[n]; ok {
		p.file, p.line = origin, 0
	}
	return p
}

func (d *decoder) add(n *yaml.Node, path, message, hint string, allowed ...string) {
	p := d.placeOf(n)
	d.problems = append(d.problems, Problem{File: p.file, Line: p.line, Path: path, Message: message, Allowed: allowed, Hint: hint})
}

// addAt reports a problem of the setting at path, or, if it is a default, of what it belongs to.
func (d *decoder) addAt(path, message, hint string, allowed ...string) {
	p := d.placeAt(path)
	d.problems = append(d.problems, Problem{File: p.file, Line: p.line, Path: path, Message: message, Allowed: allowed, Hint: hint})
}

func (d *decoder) warnAt(path, message string) {
	p := d.placeAt(path)
	d.warnings = append(d.warnings, Warning{File: p.file, Line: p.line, Path: path, Message: message})
}

func (d *decoder) placeAt(path string) place {
	for path != "" {
		if p, ok := d.places[path]; ok {
			return p
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	if d.file == "" {
		return place{}
	}
	return place{file: d.file, line: 1}
}

// given reports whether the setting at path is there, and not a default.
func (d *decoder) given(path string) bool {
	_, ok := d.places[path]
	return ok
}

// unalias follows an alias to what it stands for.
func unalias(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// kind names what a node is, for messages.
func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!str":
		return "a string"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "empty"
	case "!!timestamp":
		return "a date"
	}
	return "of type " + n.Tag
}

func (d *decoder) wrongType(path string, n *yaml.Node, want, hint string) {
	d.add(n, path, fmt.Sprintf("must be %s, but is %s", want, kind(n)), hint)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// mapping reads the keys that are there, in the order of the file. An empty value is an empty mapping.
func (d *decoder) mapping(path string, n *yaml.Node, fs fields) {
	d.entries(path, n, func(key string, k, v *yaml.Node) {
		read, ok := fs[key]
		if !ok {
			names := make([]string, 0, len(fs))
			for name := range fs {
				names = append(names, name)
			}
			slices.Sort(names)
			d.add(k, join(path, key), "unknown key", didYouMean(key, names), names...)
			return
		}
		read(join(path, key), v)
	})
}

// entries calls read for every key of a mapping, each once, and notes where its value stands.
func (d *decoder) entries(path string, n *yaml.Node, read func(key string, k, v *yaml.Node)) {
	n = unalias(n)
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.wrongType(path, n, "a mapping", "")
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], unalias(n.Content[i+1])
		key := printable(k.Value)
		switch {
		case k.Kind != yaml.ScalarNode:
			d.add(k, path, "a key must be a plain word", "")
			continue
		case k.ShortTag() == "!!merge":
			d.add(k, path, "merge keys are not supported", "repeat the settings, or use an alias for a whole value")
			continue
		case first[k.Value] > 0:
			d.add(k, join(path, key), "is set twice", fmt.Sprintf("it is first set on line %d", first[k.Value]))
			continue
		}
		first[k.Value] = max(1, k.Line)
		p := d.placeOf(v)
		if p.line > 0 {
			p.line = k.Line // where a reader looks for it, also when the value begins below
		}
		d.places[join(path, key)] = p
		read(key, k, v)
	}
}

// list reads every element of a list.
func (d *decoder) list(path string, n *yaml.Node, read field) {
	if n.Kind != yaml.SequenceNode {
		d.wrongType(path, n, "a list", "write [] for none")
		return
	}
	for i, v := range n.Content {
		v, at := unalias(v), path+"["+strconv.Itoa(i)+"]"
		d.places[at] = d.placeOf(v)
		read(at, v)
	}
}

// text returns a string value with the environment filled in. What was said of it already is not
// said again by the caller when ok is false.
func (d *decoder) text(path string, n *yaml.Node) (s string, ok bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		hint := ""
		if n.Kind == yaml.ScalarNode && !isNull(n) {
			hint = "put it in quotes"
		}
		d.wrongType(path, n, "a string", hint)
		return "", false
	}
	if s, ok = d.expand(path, n); !ok {
		return "", false
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		d.add(n, path, "contains control characters or invalid UTF-8", "")
		return "", false
	}
	return s, true
}

// expand replaces ${NAME} by the environment and $${ by ${. Values of flags and of the environment
// are taken as they are.
func (d *decoder) expand(path string, n *yaml.Node) (string, bool) {
	if _, literal := d.origins[n]; literal || !strings.Contains(n.Value, "${") {
		return n.Value, true
	}
	var b strings.Builder
	ok := true
	for s := n.Value; s != ""; {
		switch {
		case strings.HasPrefix(s, "$${"):
			b.WriteString("${")
			s = s[3:]
		case strings.HasPrefix(s, "${"):
			name, rest, closed := strings.Cut(s[2:], "}")
			if !closed || !isVariable(name) {
				d.add(n, path, "${ must be followed by the name of an environment variable and }", "write $${ for ${ itself")
				return "", false
			}
			value, set := d.lookup(name)
			if !set {
				d.add(n, path, "the environment variable "+name+" is not set", "")
				ok = false
			}
			b.WriteString(value)
			s = rest
		default:
			b.WriteByte(s[0])
			s = s[1:]
		}
	}
	return b.String(), ok
}

func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c != '_' && !isLower(c|0x20) && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// quote shows a value as it is written, never what the environment made of it.
func quote(n *yaml.Node) string { return strconv.Quote(printable(n.Value)) }

// printable shortens what a file may contain to what fits into a message.
func printable(s string) string {
	const most = 80 // more than any name has
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// didYouMean suggests the name that is nearest, if one is near.
func didYouMean(name string, names []string) string {
	return didYouMeanWithin(min(3, (len(name)+1)/2), name, names)
}

func didYouMeanWithin(most int, name string, names []string) string {
	best, distance := "", most+1
	for _, candidate := range names {
		if n := edits(strings.ToLower(name), strings.ToLower(candidate)); n < distance {
			best, distance = candidate, n
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// edits is the Levenshtein distance of a and b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, above+1, row[j]+1)
			diagonal = above
		}
	}
	return row[len(b)]
}
