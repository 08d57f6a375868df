package strict_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/onceway/onceway/gateway/strict"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// taken is a generated server that remembers what it was given.
type taken struct {
	reconciliation.ServerInterface
	key    string
	params reconciliation.GetRequestParams
}

func (s *taken) GetRequest(_ echo.Context, key reconciliation.Key, params reconciliation.GetRequestParams) error {
	s.key, s.params = key, params
	return nil
}

func paths(s reconciliation.ServerInterface) []*strict.Path {
	var r strict.Router
	reconciliation.RegisterHandlers(&r, s)
	return r.Paths()
}

func pathOf(t *testing.T, s reconciliation.ServerInterface, template string) *strict.Path {
	t.Helper()
	all := paths(s)
	i := slices.IndexFunc(all, func(p *strict.Path) bool { return p.Template == template })
	if i < 0 {
		t.Fatalf("there is no %s", template)
	}
	return all[i]
}

const one = "/_reconcile/v1/requests/{key}"

func TestPaths(t *testing.T) {
	p := pathOf(t, nil, one)
	if p.Pattern() != "/_reconcile/v1/requests/:key" || !p.Has("key") || p.Has("ke") || !slices.Equal(p.Methods(), []string{"GET", "HEAD"}) {
		t.Errorf("%s %v", p.Pattern(), p.Methods())
	}
	if p.Handler("HEAD") == nil || p.Handler("GET") == nil || p.Handler("PUT") != nil || p.Handler("get") != nil {
		t.Error("GET and HEAD are what it can be asked, and no more")
	}
	if p := pathOf(t, nil, "/_reconcile/v1/query"); !slices.Equal(p.Methods(), []string{"POST"}) || p.Handler("HEAD") != nil {
		t.Errorf("%v", p.Methods())
	}
}

// The binding takes a key as it was decoded, whatever is in it and however it came.
func TestSetParam(t *testing.T) {
	for _, key := range []string{"k", "a%41", "100%", "%", "a/b", "a,b;c=d", "a+b c", `"é"`, "{key}", ":key"} {
		for _, raw := range []string{"", "/%61/raw"} {
			s := &taken{}
			r := httptest.NewRequest("GET", "/", nil)
			r.URL.RawPath = raw
			c := echo.New().NewContext(r, httptest.NewRecorder())
			strict.SetParam(c, "key", key)
			if err := pathOf(t, s, one).Handler("GET")(c); err != nil || s.key != key {
				t.Errorf("%q became %q: %v", key, s.key, err)
			}
			if r.URL.RawPath != raw {
				t.Error("the request itself was changed")
			}
		}
	}
}

func TestJoinLines(t *testing.T) {
	s := &taken{}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{"If-None-Match": {`"a"`, `W/"b", "c"`}, "Accept": {"x"}}
	c := echo.New().NewContext(r, httptest.NewRecorder())
	strict.SetParam(c, "key", "k")
	strict.JoinLines(c)
	if err := pathOf(t, s, one).Handler("GET")(c); err != nil || s.params.IfNoneMatch == nil || *s.params.IfNoneMatch != `"a", W/"b", "c"` {
		t.Errorf("%v, %+v", err, s.params)
	}
	if len(r.Header["If-None-Match"]) != 2 {
		t.Error("the request itself was changed")
	}
}

// The generated code's own words quote the value. Ours name the parameter.
func TestRefusal(t *testing.T) {
	hints := map[string]string{"wait": "a number"}
	for query, want := range map[string]string{
		"wait=canary":        "The parameter wait is a number.",
		"wait=1&wait=canary": "The parameter wait is a number.",
	} {
		c := echo.New().NewContext(httptest.NewRequest("GET", "/?"+query, nil), httptest.NewRecorder())
		strict.SetParam(c, "key", "k")
		p, ok := strict.Refusal(pathOf(t, &taken{}, one).Handler("GET")(c), hints)
		if !ok || p.Detail != want || p.Slug.String() != "request-malformed" {
			t.Errorf("%s: %v, %q", query, ok, p.Detail)
		}
	}
	for _, text := range []any{"Invalid format for parameter other: canary", "Invalid format for parameter a canary: x", "canary", errors.New("canary")} {
		p, ok := strict.Refusal(echo.NewHTTPError(http.StatusBadRequest, text), hints)
		if !ok || strings.Contains(p.Detail, "canary") {
			t.Errorf("%v: %v, %q", text, ok, p.Detail)
		}
	}
	for _, err := range []error{nil, errors.New("other"), echo.ErrInternalServerError} {
		if _, ok := strict.Refusal(err, hints); ok {
			t.Errorf("%v is no refusal", err)
		}
	}
}
