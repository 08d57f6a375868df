package rig

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Tokens is what the configuration has of operators whose tokens are their names and "-token".
func Tokens(names ...string) string {
	var all []string
	for _, name := range names {
		all = append(all, fmt.Sprintf("{name: %s, hash: %q}", name, fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(Token(name))))))
	}
	return "tokens: [" + strings.Join(all, ", ") + "]"
}

// Token is an operator's token.
func Token(name string) string { return name + "-token" }

// Operate sends a request to the admin listener, as an operator or, with "", as nobody. It may be called
// from any goroutine, and then returns an empty answer after a failure.
func (g *Gateway) Operate(t testing.TB, name, method, path, body string, header ...string) *Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.Admin+path, strings.NewReader(body))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
		if name != "" {
			req.Header.Set("Authorization", "Bearer "+Token(name))
		}
		for n, values := range Header(header...) {
			req.Header[n] = values
			if n == "Host" {
				req.Host = values[0]
			}
		}
		var resp *http.Response
		if resp, err = operators.Do(req); err == nil {
			defer resp.Body.Close()
			var b []byte
			if b, err = io.ReadAll(resp.Body); err == nil {
				a := &Answer{resp.StatusCode, resp.Header, nil, string(b), resp.Proto}
				a.documented(t, operatorsAPI, method, path)
				return a
			}
		}
	}
	t.Errorf("%s %s: %v", method, path, err)
	return &Answer{Header: http.Header{}}
}
