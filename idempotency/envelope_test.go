package idempotency

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const anID = "3d6f0a52-8c1b-8e4d-9a7e-5b2c1d0e9f8a"

func TestEnvelopeOnTheWire(t *testing.T) {
	id, err := ParseOperationID(anID)
	if err != nil {
		t.Fatal(err)
	}
	head := `{"operation":"` + anID + `"`
	for name, tt := range map[string]struct {
		e    Envelope
		wire string
	}{
		"absent":          {Envelope{Operation: id, Attempt: 2, State: EnvelopeAbsent}, head + `,"attempt":2,"state":"absent"}`},
		"absent for ever": {Envelope{Operation: id, State: EnvelopeAbsent}, head + `,"state":"absent"}`},
		"no response":     {Envelope{Operation: id, Attempt: 1, State: EnvelopeExecuted}, head + `,"attempt":1,"state":"executed"}`},
		"text": {Envelope{id, 1, EnvelopeExecuted, NewResponse(201, map[string][]string{"Content-Type": {"application/json"}}, []byte(`{"é":1}`))},
			head + `,"attempt":1,"state":"executed","response":{"status":201,"headers":{"Content-Type":["application/json"]},"body":"{\"é\":1}","body_encoding":"utf-8"}}`},
		"bytes": {Envelope{id, 1, EnvelopeExecuted, NewResponse(200, map[string][]string{}, []byte{0xff, 0})},
			head + `,"attempt":1,"state":"executed","response":{"status":200,"headers":{},"body":"/wA=","body_encoding":"base64"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			wire, err := tt.e.Encode()
			if err != nil || string(wire) != tt.wire {
				t.Errorf("%v, %s, want %s", err, wire, tt.wire)
			}
			back, err := DecodeEnvelope([]byte(tt.wire))
			if err != nil || !reflect.DeepEqual(back, tt.e) {
				t.Errorf("%v, %+v", err, back)
			}
		})
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Envelope{Attempt: rapid.IntRange(1, 1<<31-1).Draw(t, "attempt"), State: EnvelopeExecuted}
		copy(e.Operation[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "operation"))
		e.Operation[0] |= 1
		text := rapid.SliceOfN(rapid.Map(rapid.String(), func(s string) string {
			return strings.Trim(strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return -1
				}
				return r
			}, s), " ")
		}), 1, 3)
		body := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) })).Draw(t, "body")
		e.Response = NewResponse(200, map[string][]string{"Content-Type": text.Draw(t, "values")}, append([]byte{}, body...))
		wire, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := DecodeEnvelope(wire); err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("%v\n%+v\n%+v", err, back, e)
		}
	})
}

func TestEnvelopeIsStrict(t *testing.T) {
	const response = `{"status":201,"headers":{"Content-Type":["text/plain"]},"body":"paid","body_encoding":"utf-8"}`
	whole := func(response string) string {
		return `{"operation":"` + anID + `","attempt":1,"state":"executed","response":` + response + `}`
	}
	if _, err := DecodeEnvelope([]byte(" " + whole(response) + "\n")); err != nil {
		t.Fatal(err)
	}
	for name, wire := range map[string]string{
		"empty":                   ``,
		"cut":                     whole(response)[:80],
		"not an object":           `[]`,
		"null":                    `null`,
		"no operation":            `{"attempt":1,"state":"absent"}`,
		"zero operation":          `{"operation":"00000000-0000-0000-0000-000000000000","attempt":1,"state":"absent"}`,
		"bad operation":           strings.Replace(whole(response), anID, "4711", 1),
		"no state":                `{"operation":"` + anID + `","attempt":1}`,
		"unknown state":           strings.Replace(whole(response), `"executed"`, `"maybe"`, 1),
		"unknown member":          strings.Replace(whole(response), `"state"`, `"sure":true,"state"`, 1),
		"unknown response member": strings.Replace(whole(response), `"headers"`, `"trailers":{},"headers"`, 1),
		"attempt zero":            strings.Replace(whole(response), `"attempt":1`, `"attempt":0`, 1),
		"attempt negative":        strings.Replace(whole(response), `"attempt":1`, `"attempt":-1`, 1),
		"attempt huge":            strings.Replace(whole(response), `"attempt":1`, `"attempt":2147483648`, 1),
		"attempt text":            strings.Replace(whole(response), `"attempt":1`, `"attempt":"1"`, 1),
		"executed by nobody":      strings.Replace(whole(response), `"attempt":1,`, ``, 1),
		"absent with a response":  strings.Replace(whole(response), `executed`, `absent`, 1),
		"two":                     whole(response) + whole(response),
		"more":                    whole(response) + `x`,
		"raw bytes":               strings.Replace(whole(response), "paid", "pa\xffid", 1),
		"lone high surrogate":     strings.Replace(whole(response), "paid", `\ud83d`, 1),
		"lone low surrogate":      strings.Replace(whole(response), "paid", `\udcff`, 1),
		"two high surrogates":     strings.Replace(whole(response), "paid", `\ud83d\ud83d`, 1),
		"no status":               strings.Replace(whole(response), `"status":201,`, ``, 1),
		"interim status":          strings.Replace(whole(response), `201`, `101`, 1),
		"status 600":              strings.Replace(whole(response), `201`, `600`, 1),
		"204 with a body":         strings.Replace(whole(response), `201`, `204`, 1),
		"no headers":              strings.Replace(whole(response), `"headers":{"Content-Type":["text/plain"]},`, ``, 1),
		"header text":             strings.Replace(whole(response), `["text/plain"]`, `"text/plain"`, 1),
		"header null":             strings.Replace(whole(response), `["text/plain"]`, `null`, 1),
		"header empty":            strings.Replace(whole(response), `["text/plain"]`, `[]`, 1),
		"header split":            strings.Replace(whole(response), `text/plain`, `a\r\nSet-Cookie: b`, 1),
		"header name":             strings.Replace(whole(response), `Content-Type`, `Content Type`, 1),
		"header twice":            strings.Replace(whole(response), `"Content-Type"`, `"content-type":["a"],"Content-Type"`, 1),
		"no body":                 strings.Replace(whole(response), `"body":"paid",`, ``, 1),
		"null body":               strings.Replace(whole(response), `"paid"`, `null`, 1),
		"no encoding":             strings.Replace(whole(response), `,"body_encoding":"utf-8"`, ``, 1),
		"other encoding":          strings.Replace(whole(response), `utf-8`, `latin-1`, 1),
		"not base64":              strings.NewReplacer(`utf-8`, `base64`, `paid`, `pai`).Replace(whole(response)),
		"sloppy base64":           strings.NewReplacer(`utf-8`, `base64`, `paid`, `/wB=`).Replace(whole(response)),
	} {
		t.Run(name, func(t *testing.T) {
			if e, err := DecodeEnvelope([]byte(wire)); err == nil {
				t.Errorf("accepted as %+v", e)
			} else if strings.Contains(err.Error(), "paid") {
				t.Errorf("the error quotes the body: %v", err)
			}
		})
	}
}

func TestEnvelopeReadsEscapes(t *testing.T) {
	for escaped, want := range map[string]string{`\ud83d\ude00`: "😀", `\\ud83d`: `\ud83d`, `\\\\udcff\n`: "\\\\udcff\n", `\ufffd`: "\ufffd"} {
		e, err := DecodeEnvelope([]byte(`{"operation":"` + anID + `","attempt":1,"state":"executed","response":{"status":200,"headers":{},"body":"` + escaped + `","body_encoding":"utf-8"}}`))
		if err != nil || string(e.Response.Body) != want {
			t.Errorf("%s: %v, %+v", escaped, err, e.Response)
		}
	}
}

func TestEnvelopeRefusesImpossible(t *testing.T) {
	var id OperationID
	id[0] = 1
	for name, e := range map[string]Envelope{
		"zero":                {},
		"no state":            {Operation: id, Attempt: 1},
		"executed by nobody":  {Operation: id, State: EnvelopeExecuted},
		"absent, answered":    {id, 1, EnvelopeAbsent, NewResponse(200, nil, nil)},
		"bodiless":            {id, 1, EnvelopeExecuted, NewResponse(200, nil, []byte("x")).Bodiless()},
		"Latin-1 field value": {id, 1, EnvelopeExecuted, NewResponse(200, map[string][]string{"X": {"\xe9"}}, nil)},
		"field name":          {id, 1, EnvelopeExecuted, NewResponse(200, map[string][]string{"": {"a"}}, nil)},
	} {
		if b, err := e.Encode(); err == nil {
			t.Errorf("%s: encoded as %s", name, b)
		}
	}
}

func TestEnvelopeRefuses(t *testing.T) {
	for _, tt := range []struct {
		e    Envelope
		n    int
		want bool
	}{
		{Envelope{Attempt: 2, State: EnvelopeAbsent}, 1, true},
		{Envelope{Attempt: 2, State: EnvelopeAbsent}, 2, true},
		{Envelope{Attempt: 2, State: EnvelopeAbsent}, 3, false},
		{Envelope{State: EnvelopeAbsent}, 3, true},
		{Envelope{Attempt: 2, State: EnvelopeExecuted}, 1, false},
	} {
		if got := tt.e.Refuses(tt.n); got != tt.want {
			t.Errorf("%+v refuses %d: %t", tt.e, tt.n, got)
		}
	}
}

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add([]byte(`{"operation":"` + anID + `","attempt":1,"state":"executed","response":{"status":200,"headers":{"A":["b"]},"body":"\ud83d\ude00","body_encoding":"utf-8"}}`))
	f.Add([]byte(`{"operation":"` + anID + `","state":"absent"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEnvelope(b)
		if err != nil {
			return
		}
		wire, err := e.Encode()
		if err != nil {
			t.Fatalf("decoded, but not encoded: %v", err)
		}
		if back, err := DecodeEnvelope(wire); err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("%v, %+v, %+v", err, back, e)
		}
		if !json.Valid(b) {
			t.Fatal("decoded what is not JSON")
		}
	})
}
