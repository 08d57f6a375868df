package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a configuration. Texts never contain the value of a secret or of
// an environment variable.
type Problem struct {
	File    string   // as given in Source, or the flag or variable that the value came from
	Line    int      // 1, 2, …; 0 if there is none
	Path    string   // of the setting, as in routes[0].match.path; empty for the whole file
	Message string   // what is wrong
	Allowed []string // every value or key that is allowed here, if they can be listed
	Hint    string   // what to do
}

// String returns one line: where, what, which values are allowed, a hint.
func (p Problem) String() string {
	var b strings.Builder
	writePlace(&b, p.File, p.Line, p.Path)
	b.WriteString(p.Message)
	if len(p.Allowed) > 0 {
		b.WriteString("; allowed: " + strings.Join(p.Allowed, ", "))
	}
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Warning is a setting that is legal but unwise.
type Warning struct {
	File    string
	Line    int
	Path    string
	Message string
}

// String returns one line.
func (w Warning) String() string {
	var b strings.Builder
	writePlace(&b, w.File, w.Line, w.Path)
	b.WriteString(w.Message)
	return b.String()
}

func writePlace(b *strings.Builder, file string, line int, path string) {
	switch {
	case file != "" && line > 0:
		fmt.Fprintf(b, "%s:%d: ", file, line)
	case file != "":
		b.WriteString(file + ": ")
	case line > 0:
		fmt.Fprintf(b, "line %d: ", line)
	}
	if path != "" {
		b.WriteString(path + ": ")
	}
}

// Error is everything wrong with a configuration, in the order of its lines.
type Error struct{ Problems []Problem }

// Error returns one problem per line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// ordered sorts by line; problems of flags and the environment come first.
func ordered(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return problems
}
