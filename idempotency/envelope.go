package idempotency

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/textproto"
	"unicode/utf8"
)

// EnvelopeMediaType is the media type of an [Envelope] as JSON. A gateway believes an answer to be one
// by this type alone.
const EnvelopeMediaType = "application/vnd.onceway.operation+json"

// EnvelopeState is what a backend that takes part says about an operation. It has no third value: a
// backend that cannot decide sends no envelope (503).
type EnvelopeState string

const (
	EnvelopeExecuted EnvelopeState = "executed" // the effect is committed
	EnvelopeAbsent   EnvelopeState = "absent"   // there is none, and there will be none of these attempts
)

// Envelope is a backend's durable word about one operation: the answer to a probe, in the same form
// from every backend that takes part, in any language (docs/backends.md).
type Envelope struct {
	Operation OperationID
	// Attempt is the one that was executed, which may be another than the one asked about; of an absent
	// operation the highest that will be refused from now on, 0 for all of them.
	Attempt int
	State   EnvelopeState
	// Response is the answer of an executed attempt; nil if the backend kept none. Its fields have
	// canonical names. Hop-by-hop and volatile fields are the reader's to drop.
	Response *Response
}

// Refuses reports whether the backend says that attempt n was not executed and never will be.
func (e Envelope) Refuses(n int) bool {
	return e.State == EnvelopeAbsent && (e.Attempt == 0 || e.Attempt >= n)
}

// wireEnvelope is the JSON of an envelope. A member that is there has a pointer.
type wireEnvelope struct {
	Operation string        `json:"operation"`
	Attempt   *int          `json:"attempt,omitempty"`
	State     EnvelopeState `json:"state"`
	Response  *wireResponse `json:"response,omitempty"`
}

type wireResponse struct {
	Status       int                 `json:"status"`
	Headers      map[string][]string `json:"headers"`
	Body         *string             `json:"body"`
	BodyEncoding string              `json:"body_encoding"` // utf-8 or base64
}

// Encode returns e as JSON. It fails if e breaks a rule that [DecodeEnvelope] checks.
func (e Envelope) Encode() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	wire := wireEnvelope{Operation: e.Operation.String(), State: e.State}
	if e.Attempt > 0 {
		wire.Attempt = &e.Attempt
	}
	if r := e.Response; r != nil {
		body, encoding := string(r.Body), "utf-8"
		if !utf8.Valid(r.Body) {
			body, encoding = base64.StdEncoding.EncodeToString(r.Body), "base64"
		}
		headers := r.Header
		if headers == nil {
			headers = map[string][]string{}
		}
		wire.Response = &wireResponse{Status: r.Status, Headers: headers, Body: &body, BodyEncoding: encoding}
	}
	return json.Marshal(wire)
}

// DecodeEnvelope reads one envelope and nothing else. What it returns may be recorded for ever, so it
// guesses nothing: an unknown member, a missing one, text that is not UTF-8, or a response that HTTP
// could not carry is an error.
func DecodeEnvelope(b []byte) (Envelope, error) {
	var wire wireEnvelope
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&wire); err != nil {
		return Envelope{}, fmt.Errorf("envelope: %w", redacted(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Envelope{}, errors.New("envelope: something follows the JSON object")
	}
	// encoding/json would replace both by U+FFFD, and so change the answer silently.
	if !utf8.Valid(b) || loneSurrogate(b) {
		return Envelope{}, errors.New("envelope: text is not valid UTF-8; bytes that are not text go as base64")
	}
	return wire.envelope()
}

func (w wireEnvelope) envelope() (e Envelope, err error) {
	e.State = w.State
	if e.Operation, err = ParseOperationID(w.Operation); err != nil {
		return Envelope{}, fmt.Errorf("envelope: operation: %w", err)
	}
	if w.Attempt != nil {
		if e.Attempt = *w.Attempt; e.Attempt < 1 {
			return Envelope{}, errors.New("envelope: attempt is a number from 1 on, or not there")
		}
	}
	if w.Response != nil {
		if e.Response, err = w.Response.response(); err != nil {
			return Envelope{}, fmt.Errorf("envelope: response: %w", err)
		}
	}
	if err := e.check(); err != nil {
		return Envelope{}, err
	}
	return e, nil
}

func (w wireResponse) response() (*Response, error) {
	if w.Headers == nil || w.Body == nil {
		return nil, errors.New("it has status, headers, body and body_encoding, all four")
	}
	var body []byte
	switch w.BodyEncoding {
	case "utf-8":
		body = []byte(*w.Body)
	case "base64":
		var err error
		if body, err = base64.StdEncoding.Strict().DecodeString(*w.Body); err != nil {
			return nil, errors.New("body is not base64 (RFC 4648, section 4)")
		}
	default:
		return nil, errors.New("body_encoding is utf-8 or base64")
	}
	header := make(map[string][]string, len(w.Headers))
	for name, values := range w.Headers {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if _, twice := header[canonical]; twice {
			return nil, fmt.Errorf("field %s is there in two spellings", canonical)
		}
		header[canonical] = values
	}
	return NewResponse(w.Status, header, body), nil
}

// check refuses what an envelope cannot say.
func (e Envelope) check() error {
	switch {
	case e.Operation == OperationID{}:
		return errors.New("envelope: operation is the zero UUID")
	case e.Attempt < 0 || e.Attempt > math.MaxInt32:
		return errors.New("envelope: attempt is out of range")
	case e.State != EnvelopeExecuted && e.State != EnvelopeAbsent:
		return errors.New("envelope: state is executed or absent")
	case e.State == EnvelopeExecuted && e.Attempt == 0:
		return errors.New("envelope: an executed operation names its attempt")
	case e.State == EnvelopeAbsent && e.Response != nil:
		return errors.New("envelope: an absent operation has no response")
	case e.Response != nil:
		if err := e.Response.Check(); err != nil {
			return fmt.Errorf("envelope: response: %w", err)
		}
	}
	return nil
}

// Check refuses what is not a whole final response that an envelope can carry (RFC 9110, sections 15 and 5).
func (r *Response) Check() error {
	switch {
	case !r.Replayable || r.Length != int64(len(r.Body)):
		return errors.New("the body is not there")
	case r.Status < 200 || r.Status > 599:
		return errors.New("status is from 200 to 599")
	case (r.Status == 204 || r.Status == 304) && len(r.Body) > 0:
		return fmt.Errorf("status %d has no body", r.Status)
	}
	for name, values := range r.Header {
		if !isToken(name) {
			return errors.New("a field name is not a token")
		}
		if len(values) == 0 {
			return fmt.Errorf("field %s has no value", name)
		}
		for _, v := range values {
			if !isFieldValue(v) {
				return fmt.Errorf("the value of %s is not one line of UTF-8 text without blanks around it", name)
			}
		}
	}
	return nil
}

// isToken follows RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && !('0' <= c && c <= '9') && !bytes.Contains([]byte("!#$%&'*+-.^_`|~"), []byte{c}) {
			return false
		}
	}
	return s != ""
}

// isFieldValue follows RFC 9110, section 5.5. JSON cannot carry bytes above 0x7f that are not UTF-8.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return textproto.TrimString(s) == s && utf8.ValidString(s)
}

// loneSurrogate reports whether a JSON text has an escape that is half of a character (RFC 8259,
// section 8.2): what a language writes that smuggles bytes through its strings.
func loneSurrogate(b []byte) bool {
	for i := 0; i+1 < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		i++ // past the escaped character, which may be a backslash
		if b[i] != 'u' {
			continue
		}
		r, ok := hexRune(b[i:])
		if !ok || r < 0xd800 || r > 0xdfff {
			continue
		}
		if r >= 0xdc00 || i+6 > len(b) || b[i+5] != '\\' {
			return true
		}
		if low, ok := hexRune(b[i+6:]); !ok || low < 0xdc00 || low > 0xdfff {
			return true
		}
		i += 10
	}
	return false
}

// hexRune reads uXXXX at the start of b.
func hexRune(b []byte) (r rune, ok bool) {
	if len(b) < 5 || b[0] != 'u' {
		return 0, false
	}
	for _, c := range b[1:5] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// redacted is an error of encoding/json without what it quotes from the text.
func redacted(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("%s has another type than %s", kind.Field, kind.Type)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	}
	return errors.New("an unknown member")
}
