package client

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"
)

// vectors is the file that every client and the gateway test against; vectors/README.md says what is in it.
type vectors struct {
	Version int
	Now     time.Time
	Answers map[string]vectorAnswer
	Begins  []struct{ Entry, Want vectorEntry }
	Wishes  []struct {
		Wish        string
		Entry, Want vectorEntry
	}
	Steps []struct {
		Entry  vectorEntry
		Call   call
		Answer string
		Want   vectorEntry
	}
	Queries []struct {
		Name string
		vectorAnswer
		Body    json.RawMessage
		Entries map[string]vectorEntry
		Want    map[string]vectorEntry
	}
	Records []struct {
		Entry, Want vectorEntry
		Record      Record
	}
}

// vectorEntry is a standing, and as what is wanted also what follows.
type vectorEntry struct {
	Standing
	Do        call
	Floor     int // seconds
	Authorize bool
	Answer    bool
}

type vectorAnswer struct {
	From    string
	Error   string
	Status  int
	Headers map[string]any // a string, or a list of them
	Code    string
	Cut     bool
}

func (a vectorAnswer) header() http.Header {
	h := http.Header{}
	for name, value := range a.Headers {
		switch value := value.(type) {
		case string:
			h.Add(name, value)
		case []any:
			for _, v := range value {
				h.Add(name, v.(string))
			}
		}
	}
	return h
}

func (a vectorAnswer) read(now time.Time) answer {
	if a.Error != "" {
		return noAnswer
	}
	h, content := a.header(), []byte(nil)
	if a.Code != "" {
		h.Set("Content-Type", "application/problem+json")
		content = fmt.Appendf(nil, `{"code":%q}`, a.Code)
	}
	return read(a.Status, h, content, !a.Cut, now)
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("vectors/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// is compares what came out with what is wanted.
func (want vectorEntry) is(t *testing.T, what string, s Standing, next step) {
	t.Helper()
	got := vectorEntry{s, next.call, int(next.floor / time.Second), next.authorize, next.deliver}
	if got != want {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestVectors(t *testing.T) {
	v := readVectors(t)
	if v.Version != 1 || len(v.Steps) < 200 {
		t.Fatalf("version %d, %d steps", v.Version, len(v.Steps))
	}
	for _, x := range v.Begins {
		s, call := begin(x.Entry.Standing)
		x.Want.is(t, fmt.Sprintf("begin %+v", x.Entry.Standing), s, step{call: call})
	}
	for _, x := range v.Wishes {
		wish := map[string]func(Standing) Standing{"cancel": wishCancel, "acknowledge": wishAcknowledge}[x.Wish]
		s := wish(x.Entry.Standing)
		x.Want.is(t, x.Wish, s, step{call: s.call()})
	}
	used := map[string]bool{}
	for _, x := range v.Steps {
		a, ok := v.Answers[x.Answer]
		if !ok {
			t.Fatalf("there is no answer %q", x.Answer)
		}
		used[x.Answer] = true
		s, next := learn(x.Entry.Standing, x.Call, a.read(v.Now))
		x.Want.is(t, fmt.Sprintf("%+v, %s: %s", x.Entry.Standing, x.Call, x.Answer), s, next)
	}
	for name := range v.Answers {
		if !used[name] {
			t.Errorf("no step has the answer %q", name)
		}
	}
	for _, x := range v.Records {
		s, next := learn(x.Entry.Standing, heard, x.Record.answer(0))
		x.Want.is(t, fmt.Sprintf("%+v hears %+v", x.Entry.Standing, x.Record), s, next)
	}
	for _, x := range v.Queries {
		answers := readQuery(x.Status, x.header(), x.Body, !x.Cut, slices.Sorted(maps.Keys(x.Entries)), v.Now)
		for key, entry := range x.Entries {
			s, next := learn(entry.Standing, ask, answers[key])
			x.Want[key].is(t, x.Name+" "+key, s, next)
		}
	}
}
