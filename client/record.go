package client

import (
	"encoding/json"
	"net/http"
	"time"
)

// Record is what decides of a record of the gateway (openapi/reconciliation.yaml has the rest).
type Record struct {
	Key       string `json:"key"`
	Operation string `json:"operation"` // UUID, by which the backend knows it
	State     string `json:"state"`     // executing, completed, not_executed, unknown, cancelled or forgotten
	Next      string `json:"next"`      // done, wait, resend, reconcile or stop
	Revision  int64  `json:"revision"`  // grows with each change
	Attempts  int    `json:"attempts"`
}

// answer is what the record decides, wherever it came from.
func (r Record) answer(floor time.Duration) answer {
	if r.Next == nextDone || r.Next == nextStop {
		floor = 0
	}
	return answer{signed: r.State != "", status: http.StatusOK, state: r.State, next: r.Next, whole: true, floor: floor}
}

// readQuery reads the answer to a query for these keys. A key that it does not mention, and every key if it is
// no whole answer of the gateway, gets what teaches nothing.
func readQuery(status int, h http.Header, content []byte, whole bool, keys []string, now time.Time) map[string]answer {
	all := read(status, h, content, whole, now)
	answers := make(map[string]answer, len(keys))
	for _, key := range keys {
		answers[key] = all
	}
	if !all.signed || status != http.StatusOK {
		return answers
	}
	var found struct {
		Records []Record
		Unseen  []string
	}
	if !whole || json.Unmarshal(content, &found) != nil {
		found.Records, found.Unseen = nil, nil
	}
	for _, key := range keys {
		answers[key] = answer{status: status, floor: all.floor}
	}
	for _, r := range found.Records {
		if _, asked := answers[r.Key]; asked {
			answers[r.Key] = r.answer(all.floor)
		}
	}
	for _, key := range found.Unseen {
		if _, asked := answers[key]; asked {
			answers[key] = Record{Key: key, State: stateUnseen, Next: nextResend}.answer(all.floor)
		}
	}
	return answers
}
