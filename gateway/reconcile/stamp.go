package reconcile

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// stamp sets the headers of every answer about a record.
func (a *api) stamp(c *call, rec idempotency.Record) {
	h, state, next := c.header, problem.OfRecord(rec.Believed()), nextOf(rec)
	c.ev.State, c.ev.Next = state, next
	resolved := ""
	if rec.Resolution != nil {
		resolved = ResolvedBy(rec.Resolution)
	}
	set(h,
		field{problem.HeaderState, state.String()}, field{problem.HeaderNext, next.String()},
		field{problem.HeaderRetryAfter, a.Problems.RetryAfter(next)}, field{problem.HeaderResolved, resolved},
		field{problem.HeaderExpires, rec.Expires.UTC().Format(http.TimeFormat)},
		field{problem.HeaderLink, StatusLink(a.BasePath, rec.Operation.Key)},
		field{"Cache-Control", "no-store"})
}

// stampAll sets the headers of an answer about several records. A client that obeys them alone does what the
// record needs that is furthest from being settled, and so loses none.
func (a *api) stampAll(c *call, records []idempotency.Record) {
	worst := slices.MinFunc(records, func(a, b idempotency.Record) int { return urgency(a.Believed()) - urgency(b.Believed()) })
	h, ev := c.header, c.ev
	ev.State, ev.Next = problem.OfRecord(worst.Believed()), nextOf(worst)
	h.Set(problem.HeaderState, ev.State.String())
	h.Set(problem.HeaderNext, ev.Next.String())
	if after := a.Problems.RetryAfter(ev.Next); after != "" {
		h.Set(problem.HeaderRetryAfter, after)
	}
	h.Set("Cache-Control", "no-store")
}

// urgency orders states: the smallest is furthest from being settled.
func urgency(s idempotency.State) int {
	return slices.Index([]idempotency.State{
		idempotency.Executing, idempotency.Unknown, idempotency.NotExecuted, idempotency.Unseen,
		idempotency.Cancelled, idempotency.Forgotten, idempotency.Completed,
	}, s)
}

// stampChanges sets the headers of an answer about some records, or none. Where there may be more, nothing is
// done with what is there: there is more to learn first.
func (a *api) stampChanges(c *call, records []idempotency.Record, caughtUp bool) {
	if len(records) > 0 {
		a.stampAll(c, records)
	} else {
		c.stampNone()
	}
	if !caughtUp && (c.ev.Next == problem.Done || c.ev.Next == problem.Stop) {
		c.ev.Next = problem.Reconcile
		c.header.Set(problem.HeaderNext, c.ev.Next.String())
		c.header.Set(problem.HeaderRetryAfter, a.Problems.RetryAfter(c.ev.Next))
	}
}

// stampNone sets the headers of an answer that is about no record.
func (c *call) stampNone() {
	c.ev.State, c.ev.Next = problem.Unseen, problem.Done
	c.header.Set(problem.HeaderState, problem.Unseen.String())
	c.header.Set(problem.HeaderNext, problem.Done.String())
	c.header.Set("Cache-Control", "no-store")
}

// about makes a problem, and the fields of its answer, about a record.
func (a *api) about(c *call, p problem.Problem, rec idempotency.Record) problem.Problem {
	c.header.Set(problem.HeaderExpires, rec.Expires.UTC().Format(http.TimeFormat))
	if rec.Resolution != nil {
		c.header.Set(problem.HeaderResolved, ResolvedBy(rec.Resolution))
	}
	return p.About(rec.ID.String(), StatusURL(a.BasePath, rec.Operation.Key), rec.Trace.String())
}

// damaged shows nothing of a record whose bytes do not match their digest, and alarms.
func (a *api) damaged(c *call, rec idempotency.Record) error {
	a.Log.LogAttrs(c.ev.Context(), slog.LevelError, "fault", slog.String("operation", rec.ID.String()), slog.String("error", idempotency.ErrDamaged.Error()))
	return refused{a.about(c, problem.NewRecordDamaged(), rec)}
}

// shown is a record as its caller may see it. The others must not suffer for a damaged one: it is shown as
// unknown, which says no more than the problem of a damaged record does.
func (a *api) shown(c *call, rec idempotency.Record) idempotency.Record {
	if rec.Damaged {
		a.fault(c.ev, fmt.Errorf("operation %s: %w", rec.ID, idempotency.ErrDamaged))
		rec.State, rec.Response = idempotency.Unknown, nil
	}
	return rec
}

// nextOf says what a client should do about a record. What is in doubt on a route whose backend
// deduplicates by key is resolved by the next retry.
func nextOf(r idempotency.Record) problem.Next {
	if r.State == idempotency.Unknown && r.Resend && !r.Contradicted {
		return problem.Resend
	}
	return problem.NextOfRecord(r.Believed())
}

// StatusURL returns the path of a key's record.
func StatusURL(basePath string, key idempotency.Key) string {
	return basePath + "/requests/" + url.PathEscape(string(key))
}

// StatusLink returns the value of a Link field that leads to a key's record: problem.StatusLink of its StatusURL, in one
// concatenation, because nearly every answer has it.
func StatusLink(basePath string, key idempotency.Key) string {
	return "<" + basePath + "/requests/" + url.PathEscape(string(key)) + problem.StatusRelation
}

// ResolvedBy returns the value of Idempotency-Resolved.
func ResolvedBy(r *idempotency.Resolution) string {
	if r.By == idempotency.ByProbe {
		return "probe"
	}
	return "operator"
}
