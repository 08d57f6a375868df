package problem

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"testing"
)

// forOthers are the problems of the admin API, which no client of the public listener sees, and those of parts
// of a stored response, which decide about no operation.
var forOthers = []Slug{NoRecord, EvidenceMissing, AlreadySettled, AttemptChanged, OwnerMayHoldAnswers, RangeNotSatisfiable, PreconditionFailed}

// Every problem that a client can meet is among the answers that clients are tested against
// (client/vectors), and each of those is what the table writes.
func TestClientsKnowEveryProblem(t *testing.T) {
	text, err := os.ReadFile("../../client/vectors/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Answers map[string]struct {
			From    string
			Status  int
			Headers map[string]any
			Code    string
		}
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	known := map[Slug]bool{}
	for name, a := range vectors.Answers {
		if a.Code == "" {
			continue
		}
		slug, ok := ParseSlug(a.Code)
		if !ok {
			t.Errorf("%s: there is no problem %q", name, a.Code)
			continue
		}
		known[slug] = true
		state := slices.Index(stateNames[:], a.Headers[HeaderState].(string))
		next := slices.Index(nextNames[:], a.Headers[HeaderNext].(string))
		if state < 1 || next < 1 {
			t.Errorf("%s: state %v, next %v", name, a.Headers[HeaderState], a.Headers[HeaderNext])
			continue
		}
		row := slug.row()
		// Only these situations have another status, state or next than their row.
		p := Problem{Slug: slug}
		switch slug {
		case OutcomeUnknown:
			p.Status = a.Status
		case NotSettled, TooLate:
			p.State, p.Next = State(state), Next(next)
		case Internal:
			p.State = State(state)
		}
		var spread [2]int
		for i, random := range []float64{0, 0.999999} {
			w := httptest.NewRecorder()
			Writer{Random: func() float64 { return random }}.Write(w, p)
			if w.Code != a.Status || w.Header().Get(HeaderState) != a.Headers[HeaderState] || w.Header().Get(HeaderNext) != a.Headers[HeaderNext] {
				t.Errorf("%s: the gateway answers %s with %d, %s, %s", name, row.slug, w.Code, w.Header().Get(HeaderState), w.Header().Get(HeaderNext))
			}
			spread[i], err = strconv.Atoi(w.Header().Get(HeaderRetryAfter))
			if has := err == nil; has != (a.Headers[HeaderRetryAfter] != nil) {
				t.Errorf("%s: Retry-After is %q and should be %v", name, w.Header().Get(HeaderRetryAfter), a.Headers[HeaderRetryAfter])
			}
		}
		if after, ok := a.Headers[HeaderRetryAfter].(string); ok {
			if n, err := strconv.Atoi(after); err != nil || n < spread[0] || n > spread[1] {
				t.Errorf("%s: Retry-After %s is not from %d to %d", name, after, spread[0], spread[1])
			}
		}
	}
	for _, slug := range Slugs() {
		if known[slug] == slices.Contains(forOthers, slug) {
			t.Errorf("%s: clients know it: %v", slug, known[slug])
		}
	}
}
