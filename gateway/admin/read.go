package admin

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
	generated "github.com/onceway/onceway/openapi/admin"
)

// Limits of the parameter limit of lists.
const (
	standardLimit = 50
	mostLimit     = 500
)

// ListRequests answers with a page of records, the newest first. A page may be empty before the end, because each
// call looks at a bounded number of records.
func (a *api) ListRequests(ctx context.Context, in generated.ListRequestsRequestObject) (generated.ListRequestsResponseObject, error) {
	q, err := searchFor(in.Params)
	if err != nil {
		return nil, err
	}
	if in.Params.Operation != nil {
		return a.listOne(ctx, q, *in.Params.Operation)
	}
	page, err := a.search(ctx, q)
	switch {
	case errors.Is(err, idempotency.ErrCursor):
		return nil, refused{problem.NewRequestMalformed("The parameter cursor is the member next of the page before.")}
	case err != nil:
		return nil, err
	}
	list := generated.List{Items: []generated.Record{}, ObservedAt: page.Observed}
	for _, rec := range page.Records {
		list.Items = append(list.Items, newRecord(rec, false))
	}
	if page.Next != "" {
		next := string(page.Next)
		list.Next = &next
	}
	return inJSON(list), nil
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
func (a *api) listOne(ctx context.Context, q idempotency.Query, text string) (generated.ListRequestsResponseObject, error) {
	id, err := idempotency.ParseOperationID(text)
	if err != nil {
		return nil, refused{problem.NewRequestMalformed("The parameter operation: " + err.Error() + ".")}
	}
	rec, err := a.Engine.Find(ctx, id)
	if err != nil {
		return nil, err
	}
	list := generated.List{Items: []generated.Record{}, ObservedAt: rec.Observed}
	if q.Selects(rec) {
		list.Items = append(list.Items, newRecord(rec, false))
	}
	return inJSON(list), nil
}

// searchFor reads what is to be searched for.
func searchFor(p generated.ListRequestsParams) (q idempotency.Query, err error) {
	if p.State != nil {
		state, ok := idempotency.ParseState(string(*p.State))
		if !ok {
			return q, refused{problem.NewRequestMalformed("The parameter state is one of executing, completed, not_executed, unknown, cancelled, forgotten.")}
		}
		q.State = state
	}
	if p.Caller != nil {
		c := idempotency.Caller(*p.Caller)
		q.Caller = &c
	}
	if p.Trace != nil {
		b, err := hex.DecodeString(*p.Trace)
		if err != nil || len(b) != len(q.Trace) || [16]byte(b) == [16]byte{} {
			return q, refused{problem.NewRequestMalformed("The parameter trace is 32 hexadecimal digits.")}
		}
		q.Trace = [16]byte(b)
	}
	if q.OlderThan, err = ageOf(p.Age); err != nil {
		return q, err
	}
	if q.YoungerThan, err = ageOf(p.MaxAge); err != nil {
		return q, err
	}
	if p.Contradicted != nil {
		if *p.Contradicted != generated.ListRequestsParamsContradictedTrue {
			return q, refused{problem.NewRequestMalformed("The parameter contradicted is true, or left out.")}
		}
		q.Contradicted = true
	}
	if p.Route != nil {
		q.Route = *p.Route
	}
	if p.Cursor != nil {
		q.After = idempotency.Cursor(*p.Cursor)
	}
	q.Limit, err = limitOf(p.Limit, standardLimit, mostLimit)
	return q, err
}

// ageOf reads a parameter that is an age; 0 if there is none.
func ageOf(text *string) (time.Duration, error) {
	if text == nil {
		return 0, nil
	}
	age, err := time.ParseDuration(*text)
	if err != nil || age <= 0 {
		return 0, refused{problem.NewRequestMalformed("The parameters age and max_age are durations such as 90s, 15m or 24h.")}
	}
	return age, nil
}

// GetRequest answers with a record and all that is kept beside it.
func (a *api) GetRequest(ctx context.Context, in generated.GetRequestRequestObject) (generated.GetRequestResponseObject, error) {
	call := callOf(ctx)
	withBody := in.Params.Include != nil && *in.Params.Include == generated.GetRequestParamsIncludeBody
	switch {
	case in.Params.Include != nil && *in.Params.Include != "" && !withBody:
		return nil, refused{problem.NewRequestMalformed("The parameter include is body, or left out.")}
	case withBody && call.by == "":
		return nil, a.unauthenticated(call.header, "Bodies belong to callers: reading them needs a token, also on this machine.")
	}
	rec, err := a.Engine.Find(ctx, call.id)
	if err != nil {
		return nil, err
	}
	if rec.State == idempotency.Unseen {
		return nil, refused{problem.NewNoRecord()}
	}
	return a.detail(ctx, rec, withBody)
}

// detail answers with a record and all that is kept beside it.
func (a *api) detail(ctx context.Context, rec idempotency.Record, withBody bool) (answer, error) {
	history, err := a.Store.History(ctx, rec.ID)
	if err != nil {
		return nil, err
	}
	leases, err := a.leasesOf(ctx, rec)
	if err != nil {
		return nil, err
	}
	return inJSON(newDetail(rec, history, leases, withBody)), nil
}

// leasesOf returns what is known of the process that made the last attempt.
func (a *api) leasesOf(ctx context.Context, rec idempotency.Record) ([]idempotency.InstanceRecord, error) {
	if rec.Attempt.N == 0 {
		return nil, nil
	}
	return a.Store.InstanceLeases(ctx, rec.Attempt.Owner.Instance)
}
