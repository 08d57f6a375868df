package admin

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// List is a page of records, the newest first. Next is null at the end; a page may be empty before that,
// because each call looks at a bounded number of records.
type List struct {
	Items      []Record  `json:"items"`
	Next       *string   `json:"next"`
	ObservedAt time.Time `json:"observed_at"`
}

// Limits of the parameter limit of lists.
const (
	standardLimit = 50
	mostLimit     = 500
)

func (a *api) list(w http.ResponseWriter, r *http.Request, _ string) error {
	got, err := parameters(r, "state", "caller", "route", "age", "max_age", "trace", "operation", "contradicted", "limit", "cursor")
	if err != nil {
		return err
	}
	q, err := queryOf(got)
	if err != nil {
		return err
	}
	if text, ok := got["operation"]; ok {
		return a.listOne(w, r, q, text)
	}
	page, err := a.search(r.Context(), q)
	switch {
	case errors.Is(err, idempotency.ErrCursor):
		return refused{problem.NewRequestMalformed("The parameter cursor is the member next of the page before.")}
	case err != nil:
		return err
	}
	list := List{Items: []Record{}, ObservedAt: page.Observed}
	for _, rec := range page.Records {
		list.Items = append(list.Items, newRecord(rec, false))
	}
	if page.Next != "" {
		next := string(page.Next)
		list.Next = &next
	}
	return answer(w, list)
}

// search waits for its turn.
func (a *api) search(ctx context.Context, q idempotency.Query) (idempotency.Page, error) {
	select {
	case a.searches <- struct{}{}:
		defer func() { <-a.searches }()
		return a.Store.Search(ctx, q)
	case <-ctx.Done():
		return idempotency.Page{}, ctx.Err()
	}
}

// listOne narrows a search to one operation, which needs none.
func (a *api) listOne(w http.ResponseWriter, r *http.Request, q idempotency.Query, text string) error {
	id, err := idempotency.ParseOperationID(text)
	if err != nil {
		return refused{problem.NewRequestMalformed("The parameter operation: " + err.Error() + ".")}
	}
	rec, err := a.Engine.Find(r.Context(), id)
	if err != nil {
		return err
	}
	list := List{Items: []Record{}, ObservedAt: rec.Observed}
	if q.Selects(rec) {
		list.Items = append(list.Items, newRecord(rec, false))
	}
	return answer(w, list)
}

// queryOf reads what is to be searched for.
func queryOf(got map[string]string) (q idempotency.Query, err error) {
	malformed := func(detail string) (idempotency.Query, error) {
		return q, refused{problem.NewRequestMalformed(detail)}
	}
	if name, ok := got["state"]; ok {
		i := slices.IndexFunc(idempotency.States(), func(s idempotency.State) bool { return s.String() == name })
		if i < 0 {
			return malformed("The parameter state is one of executing, completed, not_executed, unknown, cancelled, forgotten.")
		}
		q.State = idempotency.States()[i]
	}
	if caller, ok := got["caller"]; ok {
		c := idempotency.Caller(caller)
		q.Caller = &c
	}
	if trace, ok := got["trace"]; ok {
		b, err := hex.DecodeString(trace)
		if err != nil || len(b) != len(q.Trace) || [16]byte(b) == [16]byte{} {
			return malformed("The parameter trace is 32 hexadecimal digits.")
		}
		q.Trace = [16]byte(b)
	}
	for name, into := range map[string]*time.Duration{"age": &q.OlderThan, "max_age": &q.YoungerThan} {
		if text, ok := got[name]; ok {
			if *into, err = time.ParseDuration(text); err != nil || *into <= 0 {
				return malformed("The parameters age and max_age are durations such as 90s, 15m or 24h.")
			}
		}
	}
	switch got["contradicted"] {
	case "":
	case "true":
		q.Contradicted = true
	default:
		return malformed("The parameter contradicted is true, or left out.")
	}
	q.Route, q.After = got["route"], idempotency.Cursor(got["cursor"])
	q.Limit, err = limitOf(got["limit"], standardLimit, mostLimit)
	return q, err
}

func (a *api) show(w http.ResponseWriter, r *http.Request, by string) error {
	got, err := parameters(r, "include")
	if err != nil {
		return err
	}
	withBody := got["include"] == "body"
	switch {
	case got["include"] != "" && !withBody:
		return refused{problem.NewRequestMalformed("The parameter include is body, or left out.")}
	case withBody && by == "":
		return a.unauthenticated(w, "Bodies belong to callers: reading them needs a token, also on this machine.")
	}
	id, err := operationOf(r)
	if err != nil {
		return err
	}
	rec, err := a.Engine.Find(r.Context(), id)
	if err != nil {
		return err
	}
	if rec.State == idempotency.Unseen {
		return refused{problem.NewNoRecord()}
	}
	return a.answerDetail(w, r, rec, withBody)
}

// answerDetail answers with a record and all that is kept beside it.
func (a *api) answerDetail(w http.ResponseWriter, r *http.Request, rec idempotency.Record, withBody bool) error {
	history, err := a.Store.History(r.Context(), rec.ID)
	if err != nil {
		return err
	}
	leases, err := a.leasesOf(r, rec)
	if err != nil {
		return err
	}
	return answer(w, newDetail(rec, history, leases, withBody))
}

// leasesOf returns what is known of the process that made the last attempt.
func (a *api) leasesOf(r *http.Request, rec idempotency.Record) ([]idempotency.InstanceRecord, error) {
	if rec.Attempt.N == 0 {
		return nil, nil
	}
	return a.Store.InstanceLeases(r.Context(), rec.Attempt.Owner.Instance)
}

func inOrder(all []Attempt) []Attempt {
	slices.SortStableFunc(all, func(a, b Attempt) int { return cmp.Compare(a.N, b.N) })
	return all
}
