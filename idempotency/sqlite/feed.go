package sqlite

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/onceway/onceway/idempotency"
)

const (
	feedCommits = 500  // commits that one page of the feed looks at
	feedOwn     = 2000 // a caller with no more records than this is listed by them, and not along all commits

	// compactAge is when commits are looked at that no reader may need any more, compactAtMost how many of them
	// one purge looks at.
	compactAge    = time.Hour
	compactAtMost = 20_000
)

// An entry of a commit is the id of a record and a mark of its caller.
const entryLength = 16 + 8

func appendEntry(entries []byte, r *idempotency.Record) []byte {
	mark := callerMark(r.Operation.Caller)
	return append(append(entries, r.ID[:]...), mark[:]...)
}

func callerMark(c idempotency.Caller) [8]byte {
	sum := sha256.Sum256([]byte(c))
	return [8]byte(sum[:8])
}

// begin begins a history with this opening of the file, and sees to it that the store has a secret.
func (s *Store) begin(c *conn) error {
	var random [len(s.history) + 32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return err
	}
	copy(s.history[:], random[:])
	if _, err := c.exec("begin"); err != nil {
		return err
	}
	for _, step := range []struct {
		name   string
		values []driver.Value
	}{
		{"keep_secret", []driver.Value{random[len(s.history):]}},
		{"insert_opening", []driver.Value{s.history[:]}},
		{"forget_openings", nil},
	} {
		if _, err := c.exec(step.name, step.values...); err != nil {
			c.rollback()
			return err
		}
	}
	_, err := c.exec("commit")
	return err
}

func (c *conn) lastChange() (last int64, err error) {
	err = c.query("last_change", func(v []driver.Value) error {
		d := decoder{values: v}
		last = d.integer()
		return d.err
	})
	return last, err
}

// candidate is a record that a page may have.
type candidate struct {
	place   idempotency.Place
	id      idempotency.OperationID
	changed int64
}

// Feed implements [idempotency.FeedStore]. Its order is that of commits, of which there is one at a time.
//
// What is looked at first is the number of the last commit, so that what is written meanwhile, and may be
// missed, comes after the page.
func (s *Store) Feed(ctx context.Context, q idempotency.FeedQuery) (page idempotency.FeedPage, err error) {
	page = idempotency.FeedPage{History: s.history, Observed: s.now()}
	err = s.readOn(ctx, s.askers, func(c *conn) error {
		last, err := c.lastChange()
		if err != nil {
			return err
		}
		page.Last = idempotency.EndOf(uint64(last))
		if q.After != (idempotency.Place{}) {
			if err := s.knows(c, q.History, q.After.Commit, last); err != nil {
				return err
			}
		}
		if len(q.Callers) == 0 {
			page.Next, page.End = page.Last, true
			return nil
		}
		return s.feed(c, q, last, &page)
	})
	if err != nil {
		return idempotency.FeedPage{}, err
	}
	return page, nil
}

// knows reports whether a commit belongs to the history of this file: that it came before the next opening.
func (s *Store) knows(c *conn, history idempotency.FeedHistory, commit uint64, last int64) error {
	found, end := false, last
	err := c.query("opening_ends", func(v []driver.Value) error {
		found = true
		if v[0] != nil {
			d := decoder{values: v}
			end = d.integer()
			return d.err
		}
		return nil
	}, history[:])
	if err == nil && (!found || commit > uint64(end)) {
		return idempotency.ErrFeedLost
	}
	return err
}

func (s *Store) feed(c *conn, q idempotency.FeedQuery, last int64, page *idempotency.FeedPage) error {
	found, next, end, err := c.logged(q, last)
	if err != nil {
		return err
	}
	if (!end || q.After.Commit == 0) && len(q.Callers) == 1 {
		own, err := c.own("feed_of_caller", q, 0, feedOwn+1)
		switch {
		case err != nil:
			return err
		case len(own) <= feedOwn:
			found, next, end = own, page.Last, true
		case q.After.Commit == 0 && q.After != idempotency.EndOf(0):
			from := int64(0)
			if q.After != (idempotency.Place{}) {
				from = int64(binary.BigEndian.Uint64(q.After.ID[:]) & (1<<63 - 1))
			}
			if found, err = c.own("feed_older", q, from, feedOwn); err != nil {
				return err
			}
			next, end = idempotency.EndOf(0), false
			if len(found) == feedOwn {
				next = found[len(found)-1].place
			}
			found = slices.DeleteFunc(found, func(c candidate) bool { return c.changed != 0 })
		}
		found = slices.DeleteFunc(found, func(c candidate) bool { return c.place.Compare(q.After) <= 0 || c.changed > last })
		slices.SortFunc(found, func(a, b candidate) int { return a.place.Compare(b.place) })
	}
	page.Next, page.End = next, end
	if len(found) >= q.Limit {
		found = found[:q.Limit]
		page.Next, page.End = found[len(found)-1].place, false
	}
	if page.Next.Compare(q.After) < 0 {
		page.Next = q.After
	}
	page.Changes, err = s.changes(c, q, found, page.Observed)
	return err
}

// logged returns what may have changed of the callers' records in some commits, and where those end.
func (c *conn) logged(q idempotency.FeedQuery, last int64) (found []candidate, next idempotency.Place, end bool, err error) {
	marks := make(map[[8]byte]bool, len(q.Callers))
	for _, caller := range q.Callers {
		marks[callerMark(caller)] = true
	}
	commits, number := 0, int64(q.After.Commit)
	err = c.query("changes", func(v []driver.Value) error {
		d := decoder{values: v}
		var entries []byte
		number, entries = d.integer(), d.blob()
		commits++
		for ; len(entries) >= entryLength; entries = entries[entryLength:] {
			p := idempotency.Place{Commit: uint64(number), ID: idempotency.OperationID(entries[:16])}
			if marks[[8]byte(entries[16:entryLength])] && p.Compare(q.After) > 0 {
				found = append(found, candidate{place: p, id: p.ID, changed: number})
			}
		}
		return d.err
	}, int64(q.After.Commit), last, int64(feedCommits))
	if err != nil {
		return nil, next, false, err
	}
	slices.SortFunc(found, func(a, b candidate) int { return a.place.Compare(b.place) })
	if commits < feedCommits {
		return found, idempotency.EndOf(uint64(last)), true, nil
	}
	return found, idempotency.EndOf(uint64(number)), false, nil
}

// own returns records of the one caller, after one of them.
func (c *conn) own(statement string, q idempotency.FeedQuery, from int64, limit int) (found []candidate, err error) {
	err = c.query(statement, func(v []driver.Value) error {
		var o candidate
		d := decoder{values: v}
		seq := d.integer()
		d.fixed(o.id[:])
		o.changed = d.integer()
		o.place = idempotency.Place{Commit: uint64(o.changed), ID: o.id}
		if o.changed == 0 { // there the order is that of first sight
			o.place.ID = idempotency.OperationID{}
			binary.BigEndian.PutUint64(o.place.ID[:], uint64(seq))
		}
		found = append(found, o)
		return d.err
	}, []byte(q.Callers[0]), from, int64(limit))
	return found, err
}

// changes reads the records of candidates. What has changed since comes after the page.
func (s *Store) changes(c *conn, q idempotency.FeedQuery, found []candidate, now time.Time) ([]idempotency.Change, error) {
	ids := make([]idempotency.OperationID, len(found))
	for i, f := range found {
		ids[i] = f.id
	}
	type read struct {
		idempotency.Record
		changed int64
	}
	records := make(map[idempotency.OperationID]read, len(ids))
	err := c.in("feed_records", ids, func(v []driver.Value) error {
		r, err := decode(v)
		if err != nil {
			return err
		}
		d := decoder{values: v[len(v)-3:]}
		changed, fields, seal := d.integer(), d.blob(), d.blob()
		r.Derive(now, s.holds(r.Attempt.Owner), s.options.Lease)
		if r.State == idempotency.Completed && (r.Response == nil || len(seal) != 32 || r.Response.UnsealHeader(fields, [32]byte(seal)) != nil) {
			r.Response, r.Damaged = nil, true
		}
		records[r.ID] = read{r.Record, changed}
		return d.err
	}, now.UnixMicro())
	if err != nil {
		return nil, err
	}
	var changes []idempotency.Change
	for _, f := range found {
		if r, ok := records[f.id]; ok && r.changed == f.changed && slices.Contains(q.Callers, r.Operation.Caller) {
			changes = append(changes, idempotency.Change{Place: f.place, Record: r.Record})
		}
	}
	return changes, nil
}

// FeedSecret implements [idempotency.FeedStore].
func (s *Store) FeedSecret(ctx context.Context) (secret []byte, err error) {
	err = s.readOn(ctx, s.askers, func(c *conn) error {
		return c.query("feed_secret", func(v []driver.Value) error {
			d := decoder{values: v}
			secret = bytes.Clone(d.blob())
			return d.err
		})
	})
	return secret, err
}

// FeedLag implements [idempotency.FeedStore]. What is committed can be read.
func (s *Store) FeedLag(context.Context) (time.Duration, error) { return 0, nil }

// purgeFeed walks along old commits and removes those in which no record changed last: each has changed
// since, or is gone. No reader needs them.
func (s *Store) purgeFeed(ctx context.Context) error {
	for range compactAtMost / portion {
		var seen int
		var needless []int64
		err := s.read(ctx, func(c *conn) (err error) {
			seen, needless, err = s.needless(c)
			return err
		})
		if err != nil {
			return err
		}
		if len(needless) > 0 {
			err := s.transact(ctx, func(c *conn, _ time.Time) error {
				for _, number := range needless {
					if _, err := c.exec("delete_changes", number); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if seen < portion {
			s.walked.Store(0) // and begins anew
			return nil
		}
	}
	return nil
}

// errYoung ends a walk: the commits that follow are too young to be looked at, and there may be millions.
var errYoung = errors.New("young")

// needless makes one step of the walk: it returns how many commits it has seen, and which of them are of no
// use any more. What they once were they cannot become again.
func (s *Store) needless(c *conn) (seen int, numbers []int64, err error) {
	var ids []idempotency.OperationID
	of := map[int64][]idempotency.OperationID{}
	now := s.now()
	number, young := int64(0), now.Add(-compactAge).UnixMicro()
	err = c.query("old_changes", func(v []driver.Value) error {
		d := decoder{values: v}
		n, at, entries := d.integer(), d.integer(), d.blob()
		if d.err == nil && young <= at && at <= now.UnixMicro() {
			return errYoung
		}
		number = n
		seen++
		if at >= young {
			return d.err // by a clock that was ahead: another time
		}
		for ; len(entries) >= entryLength; entries = entries[entryLength:] {
			id := idempotency.OperationID(entries[:16])
			of[number] = append(of[number], id)
			ids = append(ids, id)
		}
		return d.err
	}, s.walked.Load(), int64(portion))
	if err != nil && !errors.Is(err, errYoung) {
		return 0, nil, err
	}
	last := map[idempotency.OperationID]int64{}
	err = c.in("changed_last", ids, func(v []driver.Value) error {
		var id idempotency.OperationID
		d := decoder{values: v}
		d.fixed(id[:])
		last[id] = d.integer()
		return d.err
	})
	if err != nil {
		return 0, nil, err
	}
	for n, ids := range of {
		if !slices.ContainsFunc(ids, func(id idempotency.OperationID) bool { return last[id] == n }) {
			numbers = append(numbers, n)
		}
	}
	if seen > 0 {
		s.walked.Store(number)
	}
	return seen, numbers, nil
}
