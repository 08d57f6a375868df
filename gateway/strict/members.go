package strict

import (
	"bytes"
	"encoding/json"
	"io"
	"unicode/utf8"
)

// Members splits a JSON object, and says why it is none. The names are as they were sent: encoding/json would take others
// that differ in case, and of several members the last, and would change what is not UTF-8.
func Members(content []byte) (members map[string]json.RawMessage, why string) {
	const notOne = "it is not one JSON object"
	if !utf8.Valid(content) {
		return nil, "it is not UTF-8"
	}
	d := json.NewDecoder(bytes.NewReader(content))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, notOne
	}
	members = make(map[string]json.RawMessage)
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, notOne
		}
		if _, twice := members[name]; twice {
			return nil, "a member is there twice"
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, notOne
		}
		members[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, notOne
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, notOne
	}
	return members, ""
}
