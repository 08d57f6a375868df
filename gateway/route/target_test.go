package route

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, test := range []struct{ method, in, want string }{
		{"GET", "/", "/"},
		{"POST", "/orders/1?a=b", "/orders/1?a=b"},
		{"POST", "/a/", "/a/"},
		{"POST", "/a?", "/a?"},
		{"POST", "/%61%2d%7E%5f", "/a-~_"},
		{"POST", "/caf%c3%a9/é", "/caf%C3%A9/%C3%A9"},
		{"POST", "/a%21!%3b;", "/a%21!%3B;"},
		{"POST", "/a|b\"<>^`{}#c", "/a%7Cb%22%3C%3E%5E%60%7B%7D%23c"},
		{"POST", "/a[1]@:$&'()*+,;=", "/a[1]@:$&'()*+,;="},
		{"POST", "/%2541", "/%2541"},
		{"POST", "/a?x=%2e%2f//../\\&y=%C3%a9?&z[]=é#", "/a?x=.%2F//../%5C&y=%C3%A9?&z[]=%C3%A9%23"},
		{"POST", "/...", "/..."},
		{"POST", "/.a/..b/a..", "/.a/..b/a.."},
		{"POST", "http://h:1/a?b", "/a?b"},
		{"POST", "HTTPS://h", "/"},
		{"POST", "http://h?q", "/?q"},
		{"OPTIONS", "*", "*"},
		{"OPTIONS", "http://h", "*"},
		{"GET", "//a/../b/%2e%2e/%2f\\%00", "//a/../b/../%2F%5C%00"},
		{"GET", "/a?100%", "/a?100%"},
		{"GET", "/a?%7e%é", "/a?%7e%%C3%A9"},
		{"HEAD", "/a?%7e%41", "/a?~A"},
		{"POST", "/a?100%", "/a?100%"},
		{"PUT", "/%7e?%7e%zz%é", "/~?%7e%zz%%C3%A9"},
	} {
		got, err := ParseTarget(test.method, test.in, false)
		if err != nil || got.String() != test.want {
			t.Errorf("%s %s: got %s, %v; want %s", test.method, test.in, got, err, test.want)
		}
	}
}

func TestAmbiguousPaths(t *testing.T) {
	for _, test := range []struct {
		path string
		want Ambiguity
	}{
		{"//", EmptySegment}, {"//a", EmptySegment}, {"/a//b", EmptySegment}, {"/a//", EmptySegment}, {"http://h//", EmptySegment},
		{"/.", DotSegment}, {"/..", DotSegment}, {"/a/./b", DotSegment}, {"/a/../b", DotSegment}, {"/a/..", DotSegment},
		{"/a/%2e/b", DotSegment}, {"/a/%2E%2e", DotSegment}, {"/a/.%2e/", DotSegment}, {"/a/..;x=1/b", DotSegment}, {"/.%3bx", DotSegment},
		{"/a%2fb", EncodedSlash}, {"/a%2F", EncodedSlash}, {"/%2f%2e", EncodedSlash},
		{"/a\\b", Backslash}, {"/a%5cb", Backslash}, {"/%5C", Backslash},
		{"/a%00", NUL}, {"/a\x00", NUL},
	} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "PURGE", "get"} {
			_, err := ParseTarget(method, test.path, false)
			var ambiguous *AmbiguousError
			if !errors.As(err, &ambiguous) || ambiguous.What != test.want {
				t.Errorf("%s %q: got %v, want %v", method, test.path, err, test.want)
			}
		}
		if _, err := ParseTarget("POST", test.path, true); err != nil {
			t.Errorf("raw %q: %v", test.path, err)
		}
		if _, err := ParseTarget("GET", test.path, false); err != nil {
			t.Errorf("GET %q: %v", test.path, err)
		}
	}
}

func TestInvalidTargets(t *testing.T) {
	for _, test := range []struct{ method, in string }{
		{"GET", ""}, {"GET", "a"}, {"GET", "*"}, {"POST", "*"}, {"GET", "/%"}, {"GET", "/%4"}, {"GET", "/%4g"}, {"POST", "/%%34"},
		{"GET", "ftp://h/a"}, {"GET", "http:///a"}, {"GET", "http://"}, {"GET", "http://h#a"}, {"CONNECT", "h:443"}, {"CONNECT", "/a"},
		{"GET", "?a"},
	} {
		_, err := ParseTarget(test.method, test.in, true)
		var invalid *InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("%s %q: got %v", test.method, test.in, err)
		}
	}
}

// What is passed on stands as it was sent; what is protected has to be compared.
func TestCheckQuery(t *testing.T) {
	for in, valid := range map[string]bool{"/a": true, "/a?": true, "/a?%7e&%C3": true, "/a?100%": false, "/a?%7e%zz": false, "/a?%4": false} {
		got, err := ParseTarget("POST", in, false)
		if err != nil {
			t.Fatal(err)
		}
		var invalid *InvalidError
		if err := got.CheckQuery(); errors.As(err, &invalid) == valid {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestParseTargetDoesNotCopyWhatIsNormal(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ParseTarget("POST", "/orders/caf%C3%A9/items?a=%2F&b=c", false); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// folded is what a careless server makes of a path: it decodes all of it, takes \ for /, cuts at NUL
// and resolves dots.
func folded(p string) string {
	decoded, err := url.PathUnescape(p)
	if err != nil {
		return p
	}
	decoded, _, _ = strings.Cut(strings.ReplaceAll(decoded, `\`, "/"), "\x00")
	slash := strings.HasSuffix(decoded, "/") && decoded != "/"
	if decoded = path.Clean(decoded); slash {
		decoded += "/"
	}
	return decoded
}

// FuzzParseTarget: normal forms are normal; a path that is accepted on an unsafe method is what even a
// careless server reads, so that no refused path is an alias of it; and what is accepted is a valid
// URL that Go forwards unchanged.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"/", "/a/%2e%2E/b?x=%7e", "//a\\b", "/%2f", "/é?é", "http://h/a?b", "/%%341", "/a?%%341", "/[]|", "/..;a/%3b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, method := range []string{"GET", "POST"} {
			for _, raw := range []bool{false, true} {
				got, err := ParseTarget(method, s, raw)
				if err != nil {
					continue
				}
				again, err := ParseTarget(method, got.String(), raw)
				if err != nil || again != got {
					t.Fatalf("%s %q is %q, and that is %q, %v", method, s, got, again, err)
				}
				u, err := url.ParseRequestURI(got.String())
				if err != nil || u.EscapedPath() != got.Path || u.RawQuery != got.RawQuery {
					t.Fatalf("%s %q is %q, which Go reads as %v, %v", method, s, got, u, err)
				}
				if method == "POST" && !raw {
					if want, err := url.PathUnescape(got.Path); err != nil || folded(got.Path) != want {
						t.Fatalf("%q is accepted as %q, but some servers read %q", s, got.Path, folded(got.Path))
					}
				}
			}
		}
	})
}
