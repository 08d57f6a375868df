package reconcile

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/strict"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// parseQuery reads a query strictly: member names are compared exactly, and none may be unknown or be there
// twice. What a server guesses, a client believes. The error is a refusal.
func parseQuery(content []byte) (q reconciliation.Query, err error) {
	members, why := strict.Members(content)
	if why != "" {
		return q, malformedQuery(why)
	}
	for name, value := range members {
		switch name {
		case "keys":
			q.Keys, err = parseKeys(value)
		case "wait":
			q.Wait, err = parseWait(value)
		case "include":
			q.Include, err = parseInclude(value)
		default:
			err = malformedQuery("there is a member that it does not have")
		}
		if err != nil {
			return reconciliation.Query{}, err
		}
	}
	if _, ok := members["keys"]; !ok {
		return reconciliation.Query{}, malformedQuery("keys is missing")
	}
	return q, nil
}

// parseKeys reads keys as they are, without the quotes or the percent signs of other places. One that is
// named twice is asked for once.
func parseKeys(value json.RawMessage) ([]string, error) {
	var names []*string
	if json.Unmarshal(value, &names) != nil || len(names) == 0 || slices.Contains(names, nil) {
		return nil, malformedQuery("keys is a list of at least one string")
	}
	if len(names) > MostKeys {
		return nil, refused{problem.NewTooManyKeys(fmt.Sprintf("The query names %d keys; one may name at most %d. Make several.", len(names), MostKeys))}
	}
	keys := make([]string, 0, len(names))
	for i, name := range names {
		if _, err := idempotency.NewKey(*name); err != nil {
			return nil, refused{problem.NewKeyMalformed("keys["+strconv.Itoa(i)+"]", keyReason(err))}
		}
		if !slices.Contains(keys, *name) {
			keys = append(keys, *name)
		}
	}
	return keys, nil
}

// parseWait reads seconds. A null is no number.
func parseWait(value json.RawMessage) (*int, error) {
	n, err := strconv.ParseUint(string(value), 10, 31)
	if err != nil {
		return nil, malformedQuery("wait is a whole number of seconds from 0 to " + strconv.Itoa(math.MaxInt32))
	}
	seconds := int(n)
	return &seconds, nil
}

func parseInclude(value json.RawMessage) ([]reconciliation.QueryInclude, error) {
	var names []*reconciliation.QueryInclude
	if json.Unmarshal(value, &names) != nil || names == nil {
		return nil, malformedQuery("include is a list of strings")
	}
	include := []reconciliation.QueryInclude{}
	for _, name := range names {
		if name == nil || *name != reconciliation.QueryIncludeBody {
			return nil, malformedQuery("include knows body alone")
		}
		include = append(include, *name)
	}
	return include, nil
}
