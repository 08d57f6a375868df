package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/idempotency"
)

// batch is a batch of moves under way.
type batch struct {
	moves
	given   []idempotency.Transition  // all moves, in order
	records []readRecord              // in the order of ids; those that are not known yet have no ID
	wrote   bool                      // something may have been committed
	earlier []idempotency.OperationID // whose claims an earlier try wrote
}

// batches keep the memory of a batch for the next one: at full load it was a third of all garbage.
var batches = sync.Pool{New: func() any { return new(batch) }}

func newBatch() *batch { return batches.Get().(*batch) }

// done gives the memory of a batch back that is applied. One that failed keeps it: nobody knows who still reads there.
func (b *batch) done() {
	clear(b.records)
	b.given, b.records, b.wrote, b.earlier = nil, b.records[:0], false, nil
	b.reset()
	batches.Put(b)
}

// Apply implements [idempotency.Store]. It takes one round trip, one transaction, for what is usual:
// claims of operations that have no record, and answers in time. The records that stand against claims
// are read, with their answers, by a second one, or by the first if that is to be expected. What may
// still be done then, such as a claim of a released operation or a late answer, takes one more. Where bodies lie in very many
// partitions, acknowledgements are preceded by one.
//
// What became of a move is told by its record: one that a statement has written and returned, or
// else one that is read after all kinds of move were tried, each on its own condition.
//
// All statements take their rows in order of id, so that two batches on crossed rows wait for each
// other but never in a circle. What is left of circles, between the statements of two batches that
// each mix kinds of move, the server breaks, and the batch that it picks comes again.
//
// Where the first round trip wrote something and a later one was rolled back, the error leaves the
// outcome of the batch open: applied again, it finds the first part done.
func (s *Store) Apply(ctx context.Context, ts []idempotency.Transition) ([]idempotency.Result, error) {
	if len(ts) == 0 {
		return nil, nil
	}
	ts, places := inOrder(ts)
	b := newBatch()
	if !b.sort(ts) {
		return nil, &idempotency.RolledBackError{Err: errors.New("two transitions of one batch are about one operation")}
	}
	b.given = ts
	b.records = slices.Grow(b.records, len(ts))[:len(ts)]
	if err := s.applyUsual(ctx, b); err != nil {
		return nil, err
	}
	if err := s.lookUp(ctx, b); err != nil {
		return nil, b.open(err)
	}
	if err := s.applyRest(ctx, b, ts); err != nil {
		return nil, b.open(err)
	}
	if err := s.fetchAnswers(ctx, b.records, b.hand); err != nil {
		return nil, b.open(err)
	}
	results := make([]idempotency.Result, len(ts))
	for i, t := range ts {
		results[i] = idempotency.ResultOf(t, b.records[i].Record)
	}
	s.noteLateClaims(ctx, b.claims, results)
	b.done()
	if places != nil {
		unordered := make([]idempotency.Result, len(ts))
		for i, place := range places {
			unordered[place] = results[i]
		}
		return unordered, nil
	}
	return results, nil
}

// open returns err as one that says nothing of the batch if a part of that has been committed.
func (b *batch) open(err error) error {
	var rolledBack *idempotency.RolledBackError
	if b.wrote && errors.As(err, &rolledBack) {
		return fmt.Errorf("the batch was written in part: %w", rolledBack.Err)
	}
	return err
}

// inOrder returns transitions in order of their operations, and the place of each in the batch as
// given; nil if that is in order, as a committer's are.
func inOrder(ts []idempotency.Transition) ([]idempotency.Transition, []int) {
	compare := func(a, b idempotency.OperationID) int { return bytes.Compare(a[:], b[:]) }
	if slices.IsSortedFunc(ts, func(a, b idempotency.Transition) int { return compare(a.Target(), b.Target()) }) {
		return ts, nil
	}
	places := make([]int, len(ts))
	for i := range places {
		places[i] = i
	}
	slices.SortFunc(places, func(i, j int) int { return compare(ts[i].Target(), ts[j].Target()) })
	ordered := make([]idempotency.Transition, len(ts))
	for i, place := range places {
		ordered[i] = ts[place]
	}
	return ordered, places
}

// applyUsual makes the first round trip. Claims and answers go by the statements for the usual case;
// of all other moves this is everything.
func (s *Store) applyUsual(ctx context.Context, b *batch) error {
	pool := s.claims
	if b.outcomesOnly() {
		pool = s.outcomes
	}
	if len(b.acknowledges) > 0 && s.namesDays() {
		var err error
		if b.erased, err = s.daysOf(ctx, pool, b.acknowledges); err != nil {
			return err
		}
	}
	var q pgx.Batch
	if len(b.others) == 0 {
		q.Queue(settingsWithoutJoins)
	} else {
		q.Queue(settings)
		q.Queue(lockRows, uuids(b.ids), uuids(b.always))
	}
	b.queueUsualClaims(&q, s)
	b.queueUsualCompletes(&q, s)
	if len(b.others) > 0 {
		b.queueOthers(&q, s.lease)
		q.Queue(logChanges, uuids(b.others))
		q.Queue(readRecords, uuids(b.others)).Query(func(rows pgx.Rows) error { return b.take(rows, s, false) })
	}
	if len(q.QueuedQueries) == 1 {
		return nil // answers to claims that nobody has at hand, and further attempts
	}
	err := s.run(ctx, pool, &q)
	var e *Error
	if len(b.others) == 0 && errors.As(err, &e) && e.Code == "23505" {
		// A body where there should be none yet. All was rolled back, and the rest takes care of it.
		b.wrote = false
		clear(b.records)
		return nil
	}
	b.wrote = b.wrote || len(b.others) > 0
	return err
}

// applyRest makes another round trip, if there is a move that may still be done.
func (s *Store) applyRest(ctx context.Context, b *batch, ts []idempotency.Transition) error {
	var rest []idempotency.Transition
	for i, t := range ts {
		r := &b.records[i]
		again := r.ID == idempotency.OperationID{}
		if c, ok := t.(idempotency.Claim); ok {
			again = again || r.State == idempotency.Unseen && !c.Further || r.State == idempotency.NotExecuted || r.State == idempotency.Unknown && c.Resend
		}
		if again {
			rest = append(rest, t)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	var m moves
	m.sort(rest)
	pool := s.claims
	if m.outcomesOnly() {
		pool = s.outcomes
	}
	for _, c := range m.claims {
		// Neither inserted nor somebody else's: an earlier try wrote it. Its commit may not have reached the
		// standby, and a transaction that writes nothing would not wait for that. A row lock is a write.
		if !c.Resend && b.records[b.place(c.Attempt.Operation)].ID == (idempotency.OperationID{}) {
			m.always = append(m.always, c.Attempt.Operation)
		}
	}
	var q pgx.Batch
	q.Queue(settings)
	q.Queue(lockRows, uuids(m.ids), uuids(m.always))
	m.queueClaims(&q, s.lease)
	m.queueCompletes(&q, s.lease)
	q.Queue(logChanges, uuids(m.ids))
	q.Queue(readRecords, uuids(m.ids)).Query(func(rows pgx.Rows) error { return b.take(rows, s, false) })
	for _, id := range m.ids {
		b.records[b.place(id)] = readRecord{}
	}
	if err := s.run(ctx, pool, &q); err != nil {
		return err
	}
	b.wrote = true
	for i := range b.records {
		if b.records[i].ID == (idempotency.OperationID{}) {
			return fmt.Errorf("the server did not return all of %d records", len(b.records))
		}
	}
	return nil
}

var errUnasked = errors.New("the server returned a record that nobody asked for")

// place returns where id is in the batch; -1 if it is not.
func (b *batch) place(id idempotency.OperationID) int {
	i, ok := slices.BinarySearchFunc(b.ids, id, func(a, b idempotency.OperationID) int { return bytes.Compare(a[:], b[:]) })
	if !ok {
		return -1
	}
	return i
}

// take reads records.
func (b *batch) take(rows pgx.Rows, s *Store, written bool) error {
	row := newRow(false)
	for rows.Next() {
		r, err := row.scan(rows, s.lease)
		if err != nil {
			return err
		}
		i := b.place(r.ID)
		if i < 0 {
			return errUnasked
		}
		b.records[i] = r
		b.wrote = b.wrote || written
	}
	return nil
}

// fetchAnswers completes what a batch found completed. Most often it has just stored the answer itself.
// What somebody else stored costs another round trip, and is as of then.
func (s *Store) fetchAnswers(ctx context.Context, records []readRecord, inHand map[idempotency.OperationID]*idempotency.Response) error {
	var lacking []idempotency.OperationID
	for i := range records {
		r := &records[i]
		if r.lacksAnswer(inHand[r.ID]) {
			lacking = append(lacking, r.ID)
		} else if r.State == idempotency.Completed && !r.whole {
			r.Response = inHand[r.ID]
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	fetched, err := s.find(ctx, s.claims, lacking, records)
	if err != nil {
		return err
	}
	for i := range records {
		if len(fetched) > 0 && records[i].ID == fetched[0].ID {
			records[i], fetched = fetched[0], fetched[1:]
		}
	}
	return nil
}
