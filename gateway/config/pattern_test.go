package config

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPatternMatch(t *testing.T) {
	for _, test := range []struct{ pattern, yes, no string }{
		{"/", "/", "/a //"},
		{"/**", "/ /a /a/ /a/b //", "*"},
		{"/a", "/a", "/ /a/ /A /ab /a/b"},
		{"/a/", "/a/", "/a /a/b /a//"},
		{"/orders/**", "/orders /orders/ /orders/1 /orders/1/items/", "/ /order /orders1 /orders%2F1 /x/orders"},
		{"/a/*", "/a/b /a/%2F", "/a /a/ /a/b/ /a/b/c"},
		{"/a/*/c", "/a/b/c", "/a//c /a/c /a/b/d /a/b/c/"},
		{"/*/**", "/a /a/ /a/b", "/ //a"},
		{"/caf%C3%A9", "/caf%C3%A9", "/cafe"},
	} {
		p, err := ParsePattern(test.pattern)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		for path := range strings.FieldsSeq(test.yes) {
			if !p.Match(path) {
				t.Errorf("%s does not match %s", test.pattern, path)
			}
		}
		for path := range strings.FieldsSeq(test.no) {
			if p.Match(path) {
				t.Errorf("%s matches %s", test.pattern, path)
			}
		}
		if p.Match("") {
			t.Errorf("%s matches nothing at all", test.pattern)
		}
	}
}

func TestPatternErrors(t *testing.T) {
	for _, s := range []string{"", "a", "*", "/a*", "/**/a", "/a//b", "/./a", "/..", "/a?b", "/a#b", "/a b", "/é", "/%2f", "/%41", "/%4", "/%zz", "/a\\b", "/a%"} {
		if _, err := ParsePattern(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

// What one pattern covers, it matches, whatever the path; and what two patterns match both, in
// small alphabets, is found to be covered when it is all.
func TestCoversAgreesWithMatch(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "*"})
	pattern := rapid.Custom(func(t *rapid.T) string {
		s := "/" + strings.Join(rapid.SliceOfN(segment, 1, 3).Draw(t, "segments"), "/")
		return s + rapid.SampledFrom([]string{"", "/", "/**"}).Draw(t, "end")
	})
	var paths []string
	for _, a := range []string{"", "a", "b", "c"} {
		paths = append(paths, "/"+a)
		for _, b := range []string{"", "a", "b", "c"} {
			paths = append(paths, "/"+a+"/"+b)
			for _, c := range []string{"", "a", "b", "c"} {
				paths = append(paths, "/"+a+"/"+b+"/"+c, "/"+a+"/"+b+"/"+c+"/", "/"+a+"/"+b+"/"+c+"/a", "/"+a+"/"+b+"/"+c+"/c/c")
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p, _ := ParsePattern(pattern.Draw(t, "p"))
		q, _ := ParsePattern(pattern.Draw(t, "q"))
		all := true
		for _, path := range paths {
			if q.Match(path) && !p.Match(path) {
				all = false
			}
		}
		if p.Covers(q) != all {
			t.Fatalf("%v covers %v: %v, but by their paths it is %v", p, q, p.Covers(q), all)
		}
	})
}

func TestMatchHost(t *testing.T) {
	for _, test := range []struct {
		pattern, host string
		want          bool
	}{
		{"", "a", true}, {"", "", true}, {"a.b", "a.b", true}, {"a.b", "b", false}, {"*.b", "a.b", true},
		{"*.b", "x.a.b", true}, {"*.b", "b", false}, {"*.b", ".b", false}, {"*.b", "ab", false}, {"a", "", false},
	} {
		if got := MatchHost(test.pattern, test.host); got != test.want {
			t.Errorf("%q matches %q: %v", test.pattern, test.host, got)
		}
	}
}

func TestUnits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "size")
		if got, err := parseSize(formatSize(n)); err != nil || got != n {
			t.Fatalf("%s: %d, %v", formatSize(n), got, err)
		}
	})
	for _, s := range []string{"", "d", "1", "-1d", "1d-1h", "1h1d", "+1s", "1d+1s", "s", "1 d", "99999999d", "60000d2000000h"} {
		if d, err := parseDuration(s); err == nil {
			t.Errorf("%q is %v", s, d)
		}
	}
	for _, s := range []string{"", "B", "1.5KiB", "-1", "1 ", "1  KB", "KiB", "1kb", "1KiBB"} {
		if n, err := parseSize(s); err == nil {
			t.Errorf("%q is %d", s, n)
		}
	}
}
