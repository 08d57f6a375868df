package cors

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/onceway/onceway/gateway/config"
)

func TestPolicyLists(t *testing.T) {
	settings := func(credentials bool, origins ...string) config.CORS {
		return config.CORS{Origins: origins, Credentials: credentials}
	}
	some := []config.CORS{settings(false, "https://a.example", "https://*.b.example", "http://*.b.example:8080"), settings(true, "https://own.b.example", "https://*.c.example")}
	for _, test := range []struct {
		settings []config.CORS
		origin   string
		want     verdict
	}{
		{some, "https://a.example", verdict{listed: true, named: true}},
		{some, "http://a.example", verdict{}},
		{some, "https://a.example:8443", verdict{}},
		{some, "https://A.example", verdict{}},
		{some, "https://a.example.evil.example", verdict{}},
		{some, "https://b.example", verdict{}},
		{some, "https://x.b.example", verdict{listed: true, named: true}},
		{some, "https://y.x.b.example", verdict{listed: true, named: true}},
		{some, "https://evilb.example", verdict{}},
		{some, "https://evil.example/.b.example", verdict{}},
		{some, "https://evil.example?.b.example", verdict{}},
		{some, "https://u@.b.example", verdict{}},
		{some, "https://.b.example", verdict{}},
		{some, "http://x.b.example", verdict{}},
		{some, "http://x.b.example:8080", verdict{listed: true, named: true}},
		{some, "https://own.b.example", verdict{true, true, true}},
		{some, "https://x.c.example", verdict{true, true, true}},
		{some, "null", verdict{}},
		{some, "*", verdict{}},
		{some, "", verdict{}},
		{[]config.CORS{settings(false, "*"), settings(true, "https://a.example")}, "null", verdict{listed: true}},
		{[]config.CORS{settings(false, "*"), settings(true, "https://a.example")}, "https://a.example", verdict{true, true, true}},
		{nil, "https://a.example", verdict{}},
		{[]config.CORS{{}, {}}, "https://a.example", verdict{}},
	} {
		if got := New(test.settings...).judge(test.origin); got != test.want {
			t.Errorf("%v of %q: %+v, want %+v", test.settings, test.origin, got, test.want)
		}
	}
}

// header makes a header of lines like "Vary: Accept".
func header(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h[name] = append(h[name], value)
	}
	return h
}

func from(origin string, more ...string) *http.Request {
	h := header(more...)
	if origin != "" {
		h["Origin"] = []string{origin}
	}
	return &http.Request{Method: http.MethodGet, Header: h}
}

var ours = strings.Join(exposed, ", ")

func TestAnswer(t *testing.T) {
	p := New(config.CORS{Origins: []string{"https://a.example"}}, config.CORS{Origins: []string{"https://c.example"}, Credentials: true})
	everybody := New(config.CORS{Origins: []string{"*"}})
	for name, test := range map[string]struct {
		policy *Policy
		origin string
		all    bool
		backend,
		want []string
	}{
		"no policy":      {nil, "https://a.example", true, []string{"Etag: x"}, []string{"Etag: x"}},
		"no page":        {p, "", true, nil, []string{"Vary: Origin"}},
		"another page":   {p, "https://b.example", true, nil, []string{"Vary: Origin"}},
		"listed":         {p, "https://a.example", false, []string{"X-Order: 1"}, []string{"Vary: Origin", "X-Order: 1", "Access-Control-Allow-Origin: https://a.example", "Access-Control-Expose-Headers: " + ours}},
		"every field":    {p, "https://a.example", true, []string{"X-Order: 1", "Etag: e", "Content-Type: a/b", "Set-Cookie: c"}, []string{"Vary: Origin", "X-Order: 1", "Etag: e", "Content-Type: a/b", "Set-Cookie: c", "Access-Control-Allow-Origin: https://a.example", "Access-Control-Expose-Headers: " + ours + ", X-Order"}},
		"credentials":    {p, "https://c.example", false, nil, []string{"Vary: Origin", "Access-Control-Allow-Origin: https://c.example", "Access-Control-Allow-Credentials: true", "Access-Control-Expose-Headers: " + ours}},
		"everybody":      {everybody, "https://b.example", false, nil, []string{"Vary: Origin", "Access-Control-Allow-Origin: *", "Access-Control-Expose-Headers: " + ours}},
		"extended":       {p, "https://a.example", false, []string{"Vary: Accept, origin", "Vary: Cookie", "Access-Control-Allow-Origin: https://a.example", "Access-Control-Allow-Credentials: true", "Access-Control-Expose-Headers: X-Order, link"}, []string{"Vary: Accept, origin, Cookie", "Access-Control-Allow-Origin: https://a.example", "Access-Control-Allow-Credentials: true", "Access-Control-Expose-Headers: X-Order, link, " + strings.Replace(ours, "Link, ", "", 1)}},
		"all replaced":   {p, "https://a.example", false, []string{"Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true"}, []string{"Vary: Origin", "Access-Control-Allow-Origin: https://a.example", "Access-Control-Expose-Headers: " + ours}},
		"other replaced": {everybody, "https://a.example", false, []string{"Access-Control-Allow-Origin: https://b.example", "Access-Control-Allow-Credentials: true"}, []string{"Vary: Origin", "Access-Control-Allow-Origin: *", "Access-Control-Expose-Headers: " + ours}},
		"not ours":       {p, "https://b.example", true, []string{"Vary: *", "Access-Control-Allow-Origin: https://b.example", "Access-Control-Expose-Headers: X-Order"}, []string{"Vary: *", "Access-Control-Allow-Origin: https://b.example", "Access-Control-Expose-Headers: X-Order"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := header(test.backend...)
			shared := h.Clone()
			kept := http.Header{}
			for name, values := range h {
				kept[name] = values
			}
			test.policy.Answer(h, from(test.origin), test.all)
			test.policy.Answer(h, from(test.origin), test.all) // twice is once
			if got, want := fmt.Sprint(h), fmt.Sprint(header(test.want...)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if fmt.Sprint(kept) != fmt.Sprint(shared) {
				t.Errorf("shared values were written to: %v, were %v", kept, shared)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	ask := func(method, origin string, more ...string) *http.Request {
		r := from(origin, more...)
		r.Method = method
		return r
	}
	for _, r := range []*http.Request{
		ask("OPTIONS", "https://a.example"), ask("OPTIONS", "", "Access-Control-Request-Method: POST"), ask("GET", "https://a.example", "Access-Control-Request-Method: POST"),
		ask("OPTIONS", "https://a.example", "Access-Control-Request-Method: A B"), ask("OPTIONS", "https://a.example", "Access-Control-Request-Method: "),
		ask("OPTIONS", "https://a.example", "Access-Control-Request-Method: GET", "Access-Control-Request-Method: PUT"),
	} {
		if method, ok := PreflightMethod(r); ok {
			t.Errorf("%s %v asks about %s", r.Method, r.Header, method)
		}
	}
	r := ask("OPTIONS", "https://a.example", "Access-Control-Request-Method: PURGE", "Access-Control-Request-Headers: idempotency-key,x-mine, x mine,\tx-mine", "Access-Control-Request-Headers: prefer, y-mine")
	if method, ok := PreflightMethod(r); !ok || method != "PURGE" {
		t.Errorf("asks about %q", method)
	}
	p, h := New(config.CORS{Origins: []string{"https://a.example"}}), http.Header{}
	if !p.Lists(r) || p.Lists(ask("OPTIONS", "https://b.example")) {
		t.Error("the wrong page is listed")
	}
	p.Permit(h, r, "PURGE")
	want := header("Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers", "Access-Control-Allow-Origin: https://a.example",
		"Access-Control-Allow-Methods: PURGE", "Access-Control-Allow-Headers: "+strings.Join(append(slices.Clone(sendable), "x-mine", "y-mine"), ", "), "Access-Control-Max-Age: 600")
	if fmt.Sprint(h) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", h, want)
	}
}
