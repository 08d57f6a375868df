package ledger

import "encoding/json"

// Field is the request field that carries a script.
const Field = "X-Script"

// Script says what the backend does with one request. The zero value executes and answers 200 with a
// body that no other execution has. The fields stand in the order in which they take effect.
type Script struct {
	Lookup []string `json:",omitempty"` // URLs to get before anything else; each answer is a line "lookup"
	Before string   `json:",omitempty"` // a gate to wait at before the effect
	Pause  int      `json:",omitempty"` // milliseconds of work before the effect

	NoEffect bool   `json:",omitempty"` // do not execute
	After    string `json:",omitempty"` // a gate to wait at after the effect
	Then     Fate   `json:",omitempty"`

	// Of the answer.
	Informational []int               `json:",omitempty"` // 1xx to send first
	Status        int                 `json:",omitempty"`
	Header        map[string][]string `json:",omitempty"`
	Body          *string             `json:",omitempty"`
	Big           int64               `json:",omitempty"` // length of a body of [Pattern] instead
	Chunked       bool                `json:",omitempty"` // no Content-Length
	Pieces        []string            `json:",omitempty"` // instead of Body: flushed one by one, each but the first behind its gate
	Gates         []string            `json:",omitempty"` // of the pieces 1, 2, …
	Trailer       map[string][]string `json:",omitempty"`

	// Raw is written to an HTTP/1.1 connection instead of an answer, byte for byte; then Then decides
	// how the connection ends, in good order if it is Answer.
	Raw string `json:",omitempty"`
}

// Fate is what becomes of a request after its effect.
type Fate string

const (
	Answer      Fate = ""
	Hang        Fate = "hang"         // never answer
	Close       Fate = "close"        // close the connection (FIN)
	Reset       Fate = "reset"        // reset the connection (RST)
	ResetStream Fate = "reset-stream" // HTTP/2: RST_STREAM; HTTP/1.1: close
	Die         Fate = "die"          // end the process
	Upgrade     Fate = "upgrade"      // 101, and then every byte is sent back
	Echo        Fate = "echo"         // send the request's content back as it comes, and its trailers
)

// String is the value of the field.
func (s Script) String() string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and numbers
	}
	return string(b)
}

// Text returns a Body.
func Text(s string) *string { return &s }

// Pattern is byte i of a big body.
func Pattern(i int64) byte { return byte(i*31 + i>>13) }
