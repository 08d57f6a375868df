package probe

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/idempotency"
)

var operation = idempotency.Operation{Caller: "alice", Key: "order-1"}.ID()

func envelope(t *testing.T, e idempotency.Envelope) string {
	t.Helper()
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestProve(t *testing.T) {
	stranger := idempotency.Operation{Caller: "bob", Key: "order-1"}.ID()
	made := idempotency.NewResponse(201, map[string][]string{"Location": {"/orders/1"}}, []byte("made"))
	executed := envelope(t, idempotency.Envelope{Operation: operation, Attempt: 1, State: idempotency.EnvelopeExecuted, Response: made})
	bodiless := envelope(t, idempotency.Envelope{Operation: operation, Attempt: 2, State: idempotency.EnvelopeExecuted})
	foreign := envelope(t, idempotency.Envelope{Operation: stranger, Attempt: 2, State: idempotency.EnvelopeExecuted, Response: made})
	absent := envelope(t, idempotency.Envelope{Operation: operation, State: idempotency.EnvelopeAbsent})
	absentThisFar := envelope(t, idempotency.Envelope{Operation: operation, Attempt: 2, State: idempotency.EnvelopeAbsent})
	absentBefore := envelope(t, idempotency.Envelope{Operation: operation, Attempt: 1, State: idempotency.EnvelopeAbsent})
	absentForeign := envelope(t, idempotency.Envelope{Operation: stranger, State: idempotency.EnvelopeAbsent})

	const mediaType = idempotency.EnvelopeMediaType
	const minute = time.Minute
	ignore := config.Probe{Executed: []int{200, 208}, Absent: []int{404, 410}, Settle: minute}
	fence, settle, replay := ignore, ignore, ignore
	fence.Absence, settle.Absence, replay.Replay = config.AbsenceFenced, config.AbsenceSettle, true

	for _, tt := range []struct {
		name           string
		policy         config.Probe
		status         int
		fields         string // Name: value, one a line
		body           string
		cut            bool
		age            time.Duration
		want           Finding
		status2, body2 any // of the response; nil if there is none
	}{
		{name: "executed", policy: ignore, status: 200, body: "x", want: Executed},
		{name: "another executed status", policy: ignore, status: 208, want: Executed},
		{name: "not listed", policy: ignore, status: 201, want: Nothing},
		{name: "redirect", policy: ignore, status: 302, want: Nothing},
		{name: "server error", policy: fence, status: 500, fields: "Onceway-Fenced: true", want: Nothing},
		{name: "unavailable", policy: settle, status: 503, age: 9 * minute, want: Nothing},

		{name: "replay", policy: replay, status: 200, fields: "Content-Type: text/plain", body: "whole", want: Executed, status2: 200, body2: "whole"},
		{name: "replay of nothing", policy: replay, status: 200, want: Executed, status2: 200, body2: ""},
		{name: "replay cut", policy: replay, status: 200, body: "who", cut: true, want: Executed},

		{name: "envelope", policy: ignore, status: 200, fields: "Content-Type: " + mediaType, body: executed, want: Executed, status2: 201, body2: "made"},
		{name: "envelope with parameter", policy: ignore, status: 200, fields: "Content-Type: " + strings.ToUpper(mediaType) + "; charset=utf-8", body: executed, want: Executed, status2: 201, body2: "made"},
		{name: "envelope beats replay", policy: replay, status: 200, fields: "Content-Type: " + mediaType, body: executed, want: Executed, status2: 201, body2: "made"},
		{name: "envelope without response", policy: replay, status: 200, fields: "Content-Type: " + mediaType, body: bodiless, want: Executed},
		{name: "envelope as JSON", policy: ignore, status: 200, fields: "Content-Type: application/json", body: executed, want: Executed},
		{name: "envelope cut", policy: ignore, status: 200, fields: "Content-Type: " + mediaType, body: executed[:50], cut: true, want: Executed},
		{name: "envelope of another", policy: ignore, status: 200, fields: "Content-Type: " + mediaType, body: foreign, want: Nothing},
		{name: "no envelope", policy: replay, status: 200, fields: "Content-Type: " + mediaType, body: "{}", want: Nothing},
		{name: "absent envelope", policy: replay, status: 200, fields: "Content-Type: " + mediaType, body: absent, want: Nothing},
		{name: "executed and fenced", policy: fence, status: 200, fields: "Onceway-Fenced: true", want: Nothing},

		{name: "ignored", policy: ignore, status: 404, age: 9 * minute, want: Absent},
		{name: "ignored although fenced", policy: ignore, status: 404, fields: "Onceway-Fenced: true", want: Absent},

		{name: "fenced", policy: fence, status: 404, fields: "Onceway-Fenced: true", want: NotExecuted},
		{name: "fenced, other status", policy: fence, status: 410, fields: "Onceway-Fenced: true", want: NotExecuted},
		{name: "fenced with envelope", policy: fence, status: 404, fields: "Onceway-Fenced: true\nContent-Type: " + mediaType, body: absent, want: NotExecuted},
		{name: "fenced so far", policy: fence, status: 404, fields: "Onceway-Fenced: true\nContent-Type: " + mediaType, body: absentThisFar, want: NotExecuted},
		{name: "fenced before", policy: fence, status: 404, fields: "Onceway-Fenced: true\nContent-Type: " + mediaType, body: absentBefore, want: Absent},
		{name: "fenced another", policy: fence, status: 404, fields: "Onceway-Fenced: true\nContent-Type: " + mediaType, body: absentForeign, want: Nothing},
		{name: "fenced with a cut envelope", policy: fence, status: 404, fields: "Onceway-Fenced: true\nContent-Type: " + mediaType, body: "{", cut: true, want: Absent},
		{name: "executed envelope with 404", policy: fence, status: 404, fields: "Onceway-Fenced: true\nContent-Type: " + mediaType, body: executed, want: Nothing},
		{name: "not fenced", policy: fence, status: 404, age: 9 * minute, want: Absent},
		{name: "fenced by envelope alone", policy: fence, status: 404, fields: "Content-Type: " + mediaType, body: absent, want: Absent},
		{name: "fenced in another word", policy: fence, status: 404, fields: "Onceway-Fenced: 1", want: Absent},
		{name: "fenced twice", policy: fence, status: 404, fields: "Onceway-Fenced: true\nOnceway-Fenced: true", want: Absent},

		{name: "settled", policy: settle, status: 404, age: minute, want: NotExecuted},
		{name: "not settled", policy: settle, status: 404, age: minute - 1, want: Absent},
		{name: "settle is not fenced", policy: settle, status: 404, fields: "Onceway-Fenced: true", want: Absent},
		{name: "settled with an executed envelope", policy: settle, status: 404, fields: "Content-Type: " + mediaType, body: executed, age: 9 * minute, want: Nothing},
	} {
		a := Answer{Status: tt.status, Header: http.Header{}, Body: []byte(tt.body), Whole: !tt.cut}
		for line := range strings.Lines(tt.fields) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			a.Header.Add(name, value)
		}
		got := Prove(a, Question{Operation: operation, Attempt: 2, Age: tt.age}, &tt.policy)
		if got.Finding != tt.want || got.Evidence == "" || len(got.Evidence) > 250 {
			t.Errorf("%s: %v because %q, want %v", tt.name, got.Finding, got.Evidence, tt.want)
		}
		if (got.Response != nil) != (tt.status2 != nil) {
			t.Errorf("%s: response %+v", tt.name, got.Response)
		} else if r := got.Response; r != nil && (r.Status != tt.status2 || string(r.Body) != tt.body2 || !r.Replayable) {
			t.Errorf("%s: response %d %q", tt.name, r.Status, r.Body)
		}
	}
}

func TestNext(t *testing.T) {
	const settle = time.Minute
	for _, random := range []float64{0, 0.5, 0.999} {
		age := time.Duration(0)
		var asked []time.Duration
		for age < 3*settle {
			d := Next(age, settle, random)
			if d <= 0 || age < settle && d > 10*time.Second {
				t.Fatalf("at %v the next is %v later", age, d)
			}
			if age < settle && age+d > settle+time.Second {
				t.Fatalf("from %v to %v: nobody asks when settle ends", age, age+d)
			}
			age += d
			asked = append(asked, age)
		}
		if asked[0] > time.Second || len(asked) > 40 {
			t.Errorf("asked at %v", asked)
		}
	}
	if d := Next(500*time.Hour, settle, 0.5); d > slowest || d < slowest/2 {
		t.Errorf("after weeks the next is %v later", d)
	}
	if d := Next(0, 100*time.Millisecond, 1); d > 101*time.Millisecond {
		t.Errorf("within a settle of 100 ms the next is %v later", d)
	}
}
