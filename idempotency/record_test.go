package idempotency_test

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/onceway/onceway/idempotency"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func TestDerive(t *testing.T) {
	const lease = 10 * time.Second
	answer := idempotency.NewResponse(200, map[string][]string{"A": {"b"}}, []byte("body"))
	for _, c := range []struct {
		name     string
		record   idempotency.Record
		hasLease bool
		want     idempotency.State
		cause    idempotency.Cause
	}{
		{"alive", idempotency.Record{State: idempotency.Executing, Deadline: noon.Add(time.Second)}, true, idempotency.Executing, ""},
		{"past its deadline", idempotency.Record{State: idempotency.Executing, Deadline: noon.Add(-9 * time.Second)}, true, idempotency.Executing, ""},
		{"a lease past its deadline", idempotency.Record{State: idempotency.Executing, Deadline: noon.Add(-lease)}, true, idempotency.Executing, ""},
		{"more than that", idempotency.Record{State: idempotency.Executing, Deadline: noon.Add(-lease - 1)}, true, idempotency.Unknown, idempotency.CauseOverdue},
		{"owner gone", idempotency.Record{State: idempotency.Executing, Deadline: noon.Add(time.Hour)}, false, idempotency.Unknown, idempotency.CauseOwnerGone},
		{"body", idempotency.Record{State: idempotency.Completed, BodyExpires: noon.Add(1), Response: answer}, false, idempotency.Completed, ""},
		{"body expired", idempotency.Record{State: idempotency.Completed, BodyExpires: noon, Response: answer}, true, idempotency.Forgotten, ""},
		{"damaged body expired", idempotency.Record{State: idempotency.Completed, BodyExpires: noon}, true, idempotency.Forgotten, ""},
		{"unseen", idempotency.Record{}, false, idempotency.Unseen, ""},
		{"not executed", idempotency.Record{State: idempotency.NotExecuted, Cause: "dial"}, false, idempotency.NotExecuted, "dial"},
		{"unknown", idempotency.Record{State: idempotency.Unknown, Cause: "timeout"}, true, idempotency.Unknown, "timeout"},
		{"cancelled", idempotency.Record{State: idempotency.Cancelled}, false, idempotency.Cancelled, ""},
		{"forgotten", idempotency.Record{State: idempotency.Forgotten}, false, idempotency.Forgotten, ""},
	} {
		r := c.record
		r.Derive(noon, c.hasLease, lease)
		if r.State != c.want || r.Cause != c.cause || !r.Observed.Equal(noon) {
			t.Errorf("%s: %v %q at %v, want %v %q", c.name, r.State, r.Cause, r.Observed, c.want, c.cause)
		}
		if body := r.Response != nil && r.Response.Replayable; body != (r.State == idempotency.Completed) {
			t.Errorf("%s: %v with body %v", c.name, r.State, body)
		}
		if answer.Body == nil {
			t.Fatal("deriving one reader's record took the body from another's")
		}
	}
}

func TestStates(t *testing.T) {
	for state, want := range map[idempotency.State]struct {
		name           string
		final, settled bool
	}{
		idempotency.Unseen:      {"unseen", false, false},
		idempotency.Executing:   {"executing", false, false},
		idempotency.Completed:   {"completed", true, true},
		idempotency.NotExecuted: {"not_executed", false, true},
		idempotency.Unknown:     {"unknown", false, false},
		idempotency.Cancelled:   {"cancelled", true, true},
		idempotency.Forgotten:   {"forgotten", true, true},
		99:                      {"state(99)", false, false},
	} {
		if state.String() != want.name || state.Final() != want.final || state.Settled() != want.settled {
			t.Errorf("%v: final %v, settled %v", state, state.Final(), state.Settled())
		}
	}
	if len(idempotency.States()) != 6 {
		t.Error("a state is missing")
	}
}

func TestTexts(t *testing.T) {
	// RFC 9530, appendix B.1.
	r := idempotency.NewResponse(200, nil, []byte("{\"hello\": \"world\"}\n"))
	if got, want := r.DigestField(), "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"; got != want {
		t.Errorf("digest is %s, want %s", got, want)
	}
	if got := (idempotency.Trace{TraceID: [16]byte{0: 1, 15: 0xff}}).String(); got != "010000000000000000000000000000ff" {
		t.Error("trace id is", got)
	}
	if got := (idempotency.Trace{SpanID: [8]byte{1}}).String(); got != "" {
		t.Error("no trace id is", got)
	}
}

// stored returns what a store would read back of r, before it is unsealed.
func stored(r *idempotency.Response) *idempotency.Response { return r.Bodiless() }

func TestSealDetectsEveryFlippedByte(t *testing.T) {
	r := idempotency.NewResponse(201, map[string][]string{"A": {"1", "", "2"}, "Long-Name": {"value"}}, []byte("body\x00\xff"))
	fields, seal := r.Seal()
	if err := stored(r).Unseal(fields, r.Body, seal); err != nil {
		t.Fatal(err)
	}
	damaged := func(what string, i int, s *idempotency.Response, fields, body []byte, seal [32]byte) {
		t.Helper()
		if err := s.Unseal(fields, body, seal); !errors.Is(err, idempotency.ErrDamaged) || s.Body != nil || s.Header != nil || s.Replayable {
			t.Errorf("%s, byte %d: %v, replayable %v", what, i, err, s.Replayable)
		}
	}
	flip := func(b []byte, i int, bit byte) []byte {
		b = bytes.Clone(b)
		b[i] ^= bit
		return b
	}
	for _, bit := range []byte{0x01, 0x80} {
		for i := range fields {
			damaged("fields", i, stored(r), flip(fields, i, bit), r.Body, seal)
		}
		for i := range r.Body {
			damaged("body", i, stored(r), fields, flip(r.Body, i, bit), seal)
		}
		for i := range seal {
			damaged("seal", i, stored(r), fields, r.Body, [32]byte(flip(seal[:], i, bit)))
		}
		for i := range r.Digest {
			s := stored(r)
			s.Digest[i] ^= bit
			damaged("digest", i, s, fields, r.Body, seal)
		}
	}
	for i := range fields {
		damaged("fields cut", i, stored(r), fields[:i], r.Body, seal)
	}
	for i := range r.Body {
		damaged("body cut", i, stored(r), fields, r.Body[:i], seal)
	}
	damaged("fields grown", 0, stored(r), append(bytes.Clone(fields), 0), r.Body, seal)
	damaged("body grown", 0, stored(r), fields, append(bytes.Clone(r.Body), 0), seal)
	s := stored(r)
	s.Status++
	damaged("status", 0, s, fields, r.Body, seal)
	s = stored(r)
	s.Length++
	damaged("length", 0, s, fields, r.Body, seal)
}

func TestSealRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.Byte(), 0, 40)
		header := map[string][]string{}
		for range rapid.IntRange(0, 5).Draw(t, "fields") {
			var values []string
			for range rapid.IntRange(1, 3).Draw(t, "values") {
				values = append(values, string(text.Draw(t, "value")))
			}
			header[string(text.Draw(t, "name"))] = values
		}
		r := idempotency.NewResponse(rapid.IntRange(100, 999).Draw(t, "status"), header, text.Draw(t, "body"))
		fields, seal := r.Seal()
		s := stored(r)
		if err := s.Unseal(fields, r.Body, seal); err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(s.Header, header, slices.Equal) || !bytes.Equal(s.Body, r.Body) || s.Status != r.Status || !s.Replayable {
			t.Fatalf("%+v became %+v", r, s)
		}
		again, same := r.Seal()
		if !bytes.Equal(again, fields) || same != seal {
			t.Fatal("the seal depends on the order of a map")
		}
	})
}

// FuzzUnseal: whatever is stored, nothing is replayed that does not match, and nothing panics.
func FuzzUnseal(f *testing.F) {
	r := idempotency.NewResponse(200, map[string][]string{"A": {"b"}}, []byte("c"))
	fields, seal := r.Seal()
	f.Add(200, fields, r.Body, seal[:])
	f.Add(0, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, []byte{}, seal[:])
	f.Fuzz(func(t *testing.T, status int, fields, body, seal []byte) {
		s := idempotency.NewResponse(status, nil, bytes.Clone(body)).Bodiless()
		var given [32]byte
		copy(given[:], seal)
		if err := s.Unseal(fields, body, given); err != nil {
			return
		}
		if again, sum := s.Seal(); sum != given || !bytes.Equal(again, fields) {
			t.Fatal("what was accepted has another seal")
		}
	})
}
