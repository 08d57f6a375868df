package strict

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/onceway/onceway/gateway/problem"
)

// SetParam hands a parameter of the path, decoded, to the generated binding. A router's parameter will not
// do: it has been decoded by rules of its own, and one key must not become another. The binding decodes
// parameters again unless the URL has no RawPath.
func SetParam(c echo.Context, name, value string) {
	if r := c.Request(); r.URL.RawPath != "" {
		u := *r.URL
		u.RawPath = ""
		r = r.WithContext(r.Context())
		r.URL = &u
		c.SetRequest(r)
	}
	c.SetParamNames(name)
	c.SetParamValues(value)
}

// JoinLines makes one line of each field that came in several (RFC 9110, section 5.3): the generated
// binding refuses more, also of a field that is a list.
func JoinLines(c echo.Context) {
	r := c.Request()
	for name, lines := range r.Header {
		if len(lines) < 2 {
			continue
		}
		if r == c.Request() {
			r = r.Clone(r.Context())
		}
		r.Header[name] = []string{strings.Join(lines, ", ")}
	}
	c.SetRequest(r)
}

// CheckQuery reports whether a query can be read, and otherwise the problem that it is. What net/url cannot read it leaves
// out, and who asked for a filter or a cursor would be answered without it.
func CheckQuery(r *http.Request) (p problem.Problem, ok bool) {
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		return problem.NewRequestMalformed("The query cannot be read: it has a semicolon, or a % that begins no escape."), false
	}
	return p, true
}

// Refusal returns the problem for what generated code has refused by itself: a parameter that it could not
// bind. hints say what a parameter is, by its name. ok is false if err is of another kind.
func Refusal(err error, hints map[string]string) (p problem.Problem, ok bool) {
	var refused *echo.HTTPError
	if !errors.As(err, &refused) || refused.Code != http.StatusBadRequest {
		return p, false
	}
	text, _ := refused.Message.(string)
	name := parameterIn(text)
	switch hint := hints[name]; {
	case hint != "":
		p = problem.NewRequestMalformed("The parameter " + name + " is " + hint + ".")
	case name != "":
		p = problem.NewRequestMalformed("The parameter " + name + " is not of the form that this interface takes.")
	default:
		p = problem.NewRequestMalformed("A parameter is not of the form that this interface takes.")
	}
	return p, true
}

// parameterIn finds the name of the parameter in what generated code says of it; the rest of that text
// quotes the value and speaks of Go.
func parameterIn(text string) string {
	before, _, _ := strings.Cut(text, ":")
	name, ok := strings.CutPrefix(before, "Invalid format for parameter ")
	if !ok || strings.ContainsAny(name, " ") {
		return ""
	}
	return name
}
