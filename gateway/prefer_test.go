package gateway

import (
	"math"
	"reflect"
	"testing"
	"time"
)

func TestParsePrefer(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  preferences
		rest  []string
	}{
		{nil, preferences{wait: -1}, nil},
		{[]string{"wait=0"}, preferences{wait: 0}, nil},
		{[]string{"wait=5, wait=7"}, preferences{wait: 5 * time.Second}, nil},
		{[]string{`Wait="5"`}, preferences{wait: 5 * time.Second}, nil},
		{[]string{"wait = 5; x=y"}, preferences{wait: 5 * time.Second}, nil},
		{[]string{"wait=99999999999999999999, wait=1"}, preferences{wait: math.MaxInt32 * time.Second}, nil},
		{[]string{"wait=-1"}, preferences{wait: -1}, nil},
		{[]string{"wait=soon"}, preferences{wait: -1}, nil},
		{[]string{"respond-async", "wait=3"}, preferences{wait: 3 * time.Second, respondAsync: true}, nil},
		{[]string{"RESPOND-ASYNC,return=minimal"}, preferences{wait: -1, respondAsync: true}, []string{"return=minimal"}},
		{[]string{`foo="a, wait=3", handling=lenient`}, preferences{wait: -1}, []string{`foo="a, wait=3", handling=lenient`}},
		{[]string{`foo="\", wait=3"`, "wait=1"}, preferences{wait: time.Second}, []string{`foo="\", wait=3"`}},
	} {
		if got := parsePrefer(tt.lines); got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.lines, got, tt.want)
		}
		if got := foreignPreferences(tt.lines); !reflect.DeepEqual(got, tt.rest) {
			t.Errorf("%q: the rest is %q, want %q", tt.lines, got, tt.rest)
		}
	}
}

func FuzzParsePrefer(f *testing.F) {
	f.Add(`a="\`)
	f.Add(`wait=1, "`)
	f.Fuzz(func(t *testing.T, line string) {
		parsePrefer([]string{line})
		if rest := foreignPreferences([]string{line}); rest != nil {
			if p := parsePrefer(rest); p.wait >= 0 || p.respondAsync {
				t.Errorf("%q: a preference of ours is left in %q", line, rest)
			}
		}
	})
}
