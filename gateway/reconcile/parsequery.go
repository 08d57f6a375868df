package reconcile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// parseQuery reads a query strictly: member names are compared exactly, and none may be unknown or be there
// twice. What a server guesses, a client believes. The error is a refusal.
func parseQuery(content []byte) (q query, err error) {
	if !utf8.Valid(content) {
		return q, malformedQuery("it is not UTF-8")
	}
	members, why := membersOf(content)
	if why != "" {
		return q, malformedQuery(why)
	}
	for name, value := range members {
		switch name {
		case "keys":
			q.keys, err = parseKeys(value)
		case "wait":
			q.wait, err = parseWait(value)
		case "include":
			q.withBody, err = parseInclude(value)
		default:
			err = malformedQuery("there is a member that it does not have")
		}
		if err != nil {
			return query{}, err
		}
	}
	if _, ok := members["keys"]; !ok {
		return query{}, malformedQuery("keys is missing")
	}
	return q, nil
}

// membersOf splits an object, and says why it is none.
func membersOf(content []byte) (members map[string]json.RawMessage, why string) {
	const notOne = "it is not one JSON object"
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

// parseKeys reads keys as they are, without the quotes or the percent signs of other places. One that is
// named twice is asked for once.
func parseKeys(value json.RawMessage) ([]idempotency.Key, error) {
	var names []*string
	if json.Unmarshal(value, &names) != nil || len(names) == 0 || slices.Contains(names, nil) {
		return nil, malformedQuery("keys is a list of at least one string")
	}
	if len(names) > MostKeys {
		return nil, refused{problem.NewTooManyKeys(fmt.Sprintf("The query names %d keys; one may name at most %d. Make several.", len(names), MostKeys))}
	}
	keys := make([]idempotency.Key, 0, len(names))
	for i, name := range names {
		key, err := idempotency.NewKey(*name)
		if err != nil {
			return nil, refused{problem.NewKeyMalformed("keys["+strconv.Itoa(i)+"]", keyReason(err))}
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// parseWait reads seconds. A null is no number.
func parseWait(value json.RawMessage) (time.Duration, error) {
	n, err := strconv.ParseUint(string(value), 10, 31)
	if err != nil {
		return 0, malformedQuery("wait is a whole number of seconds")
	}
	return time.Duration(n) * time.Second, nil
}

func parseInclude(value json.RawMessage) (withBody bool, err error) {
	var names []*string
	if json.Unmarshal(value, &names) != nil || names == nil {
		return false, malformedQuery("include is a list of strings")
	}
	for _, name := range names {
		if name == nil || *name != "body" {
			return false, malformedQuery("include knows body alone")
		}
		withBody = true
	}
	return withBody, nil
}
