package config

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Lookup reads one environment variable, as os.LookupEnv does.
type Lookup func(name string) (value string, ok bool)

// ReadFile reads one file, as os.ReadFile does.
type ReadFile func(path string) ([]byte, error)

// ReadDSN says what is wrong with a Postgres DSN, if anything, without quoting it.
type ReadDSN func(dsn string) error

// Source is everything that a configuration is made from.
type Source struct {
	File      string    // name for messages, and the base of relative paths; empty when there is no file
	Data      []byte    // the file's content; ignored without a File
	Lookup    Lookup    // nil means an empty environment
	Variables []string  // names in that environment of which one that nobody reads is worth a warning
	Files     ReadFile  // nil means that the files which the configuration names are not looked at
	DSN       ReadDSN   // nil means that nobody here can read one
	Overrides Overrides // from flags
}

// ForUpstream returns the configuration of a gateway without a file: one upstream, one route /**, one
// caller for all clients, a SQLite file in the working directory. The error is an *Error.
func ForUpstream(url string, overrides Overrides, lookup Lookup) (*Config, error) {
	overrides.Upstream = url
	return Load(Source{Lookup: lookup, Overrides: overrides})
}

// Load returns the configuration that src describes. The error is an *Error with everything that is
// wrong.
func Load(src Source) (*Config, error) {
	d := &decoder{
		file:    src.File,
		asked:   map[string]bool{},
		files:   src.Files,
		dsn:     src.DSN,
		origins: map[*yaml.Node]string{},
		places:  map[string]place{},
	}
	d.lookup = func(name string) (string, bool) {
		d.asked[name] = true
		if src.Lookup == nil {
			return "", false
		}
		return src.Lookup(name)
	}
	if src.File != "" {
		d.dir = filepath.Dir(src.File)
	}
	root, problem := document(src)
	if problem != nil {
		return nil, &Error{[]Problem{*problem}}
	}
	d.override(root, src)

	c := defaults()
	d.config(root, &c)
	if c.Reconcile.RequestsPerSecond == byCaller {
		c.Reconcile.RequestsPerSecond = 1000
		if c.Caller.None != nil {
			c.Reconcile.RequestsPerSecond = 0 // the limit of one would be that of all
		}
	}
	d.check(&c)
	d.refuse(&c)
	if len(d.problems) > 0 {
		return nil, &Error{ordered(d.problems)}
	}
	d.advise(&c)
	d.adviseEnvironment(src.Variables)
	c.warnings = d.warnings
	return &c, nil
}

// document returns the root of the file's only document; an empty mapping if the file says nothing.
func document(src Source) (*yaml.Node, *Problem) {
	empty := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	if src.File == "" {
		return empty, nil
	}
	var doc, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(src.Data))
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return empty, nil
	case err != nil:
		return nil, syntaxProblem(src.File, err)
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, syntaxProblem(src.File, err)
	default:
		return nil, &Problem{File: src.File, Line: second.Line, Message: "a second document begins here", Hint: "a configuration is one document"}
	}
	root := unalias(doc.Content[0])
	if isNull(root) {
		return empty, nil
	}
	return root, nil
}

var syntaxLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(?:yaml: )?`)

// syntaxProblem takes the line out of the parser's text.
func syntaxProblem(file string, err error) *Problem {
	text := err.Error()
	found := syntaxLine.FindStringSubmatch(text)
	line, _ := strconv.Atoi(found[1]) // 0 where the parser gives none
	return &Problem{
		File: file, Line: line,
		Message: "is not valid YAML: " + printable(strings.TrimPrefix(text, found[0])),
		Hint:    "indent with spaces, and quote values that contain : or #",
	}
}
