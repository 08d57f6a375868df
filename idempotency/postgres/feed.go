package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/onceway/onceway/idempotency"
)

var (
	feedSettings     = statement("feed_settings")
	feedState        = statement("feed_state")
	feedHeld         = statement("feed_held")
	feedLag          = statement("feed_lag")
	feedWindow       = statement("feed_window")
	feedLog          = statement("feed_log")
	feedOfCaller     = statement("feed_of_caller")
	feedOlder        = statement("feed_older")
	feedRecords      = statement("feed_records")
	feedSecret       = statement("feed_secret")
	feedPurgeWalk    = statement("feed_purge_walk")
	feedPurgeWindow  = statement("feed_purge_window")
	feedPurge        = statement("feed_purge")
	feedPurgeAdvance = statement("feed_purge_advance")
)

const (
	feedCommits    = 500  // rows of the feed that one page looks at
	feedOwn        = 2000 // a caller with no more records than this is listed by them, and not along everybody's changes
	feedPurgeSteps = 4    // steps of one purge's walk, past as many rows each as of a page
	feedHeldRows   = 1000 // rows that are looked at for changes that cannot be read yet
)

// horizon is what a snapshot can read of the feed.
type horizon struct {
	xmin, xmax uint64
	last       uint64 // the last transaction that changed something, below xmin
	history    idempotency.FeedHistory
	observed   time.Time
}

// candidate is a record that a page may have.
type candidate struct {
	place idempotency.Place
	id    idempotency.OperationID
	day   pgtype.Date // of its stored answer
	// claimed is when its last attempt was; only read where that is the order.
	claimed time.Time
}

// Feed implements [idempotency.FeedStore]. Its order is that of the writing transactions' numbers, below
// the oldest one that is still under way: whatever commits later has a number that is not below.
//
// The way along everybody's changes is long for one caller who begins at the start or comes after a long
// time. So if he has few records they are looked at instead.
func (s *Store) Feed(ctx context.Context, q idempotency.FeedQuery) (page idempotency.FeedPage, err error) {
	err = s.look(ctx, func(tx pgx.Tx) (err error) {
		page, err = s.feed(ctx, tx, q)
		return err
	})
	if err != nil {
		return idempotency.FeedPage{}, err
	}
	return page, nil
}

func (s *Store) feed(ctx context.Context, tx pgx.Tx, q idempotency.FeedQuery) (page idempotency.FeedPage, err error) {
	var h horizon
	var commits, held int
	var upTo string
	var heldCallers []string
	callers := column(q.Callers, func(c *idempotency.Caller) pgtype.Text { return text(*c) })
	from := strconv.FormatUint(q.After.Commit, 10)
	var b pgx.Batch
	b.Queue(feedSettings)
	b.Queue(feedState).QueryRow(func(row pgx.Row) error { return h.scan(row) })
	b.Queue(feedHeld, callers, feedHeldRows).QueryRow(func(row pgx.Row) error { return row.Scan(&held, &heldCallers) })
	b.Queue(feedWindow, from, feedCommits).QueryRow(func(row pgx.Row) error { return row.Scan(&commits, &upTo) })
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return page, err
	}
	if q.After != (idempotency.Place{}) && (q.History != h.history || q.After.Commit > h.xmin) {
		return page, idempotency.ErrFeedLost
	}
	page = idempotency.FeedPage{History: h.history, Last: idempotency.EndOf(h.last), Observed: h.observed, AllHeld: held == feedHeldRows}
	for _, c := range heldCallers {
		if page.Held == nil {
			page.Held = make(map[idempotency.Caller]bool)
		}
		page.Held[idempotency.Caller(c)] = true
	}

	if len(q.Callers) == 0 {
		page.Next, page.End = page.Last, true
		return page, nil
	}
	var found []candidate
	far := commits >= feedCommits || q.After.Commit == 0
	if far && len(q.Callers) == 1 {
		if found, page.End, err = ofCaller(ctx, tx, q, h); err != nil {
			return page, err
		}
	}
	switch {
	case page.End:
		page.Next = page.Last
	case q.After.Commit == 0 && q.After != idempotency.EndOf(0) && len(q.Callers) == 1:
		if found, page.Next, err = older(ctx, tx, q, h); err != nil {
			return page, err
		}
	default:
		if found, err = logged(ctx, tx, from, upTo, callers, q); err != nil {
			return page, err
		}
		if page.End = commits < feedCommits; page.End {
			page.Next = page.Last
		} else if page.Next = q.After; commits > 0 {
			end, err := strconv.ParseUint(upTo, 10, 64)
			if err != nil {
				return page, err
			}
			page.Next = idempotency.EndOf(end)
		}
	}
	if len(found) >= q.Limit {
		found = found[:q.Limit]
		page.Next, page.End = found[len(found)-1].place, false
	}
	if page.Next.Compare(q.After) < 0 {
		page.Next = q.After // rows were removed that nobody needs
	}
	page.Changes, err = s.changes(ctx, tx, found)
	return page, err
}

func (h *horizon) scan(row pgx.Row) error {
	var xmin, xmax, last, identity string
	if err := row.Scan(&xmin, &xmax, &h.observed, &last, &identity); err != nil {
		return err
	}
	h.observed = h.observed.UTC()
	sum := sha256.Sum256([]byte(identity))
	copy(h.history[:], sum[:])
	for _, n := range []struct {
		text string
		into *uint64
	}{{xmin, &h.xmin}, {xmax, &h.xmax}, {last, &h.last}} {
		var err error
		if *n.into, err = strconv.ParseUint(n.text, 10, 64); err != nil {
			return err
		}
	}
	return nil
}

// foreign reports whether a record is from before the feed: it is older, or its last transaction's number is
// not one of this server's.
func (h *horizon) foreign(changed uint64) bool { return changed == 0 || changed >= h.xmax }

// logged returns what changed in a window of the feed.
func logged(ctx context.Context, tx pgx.Tx, from, upTo string, callers array[pgtype.Text], q idempotency.FeedQuery) ([]candidate, error) {
	rows, err := tx.Query(ctx, feedLog, from, upTo, uuid(q.After.ID), callers, q.Limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c candidate, err error) {
		var id pgtype.UUID
		var xid int64
		err = row.Scan(&xid, &id, &c.day)
		c.id = id.Bytes
		c.place = idempotency.Place{Commit: uint64(xid), ID: c.id}
		return c, err
	})
}

// ofCaller returns what follows of a caller who has few records, and whether he is one.
func ofCaller(ctx context.Context, tx pgx.Tx, q idempotency.FeedQuery, h horizon) ([]candidate, bool, error) {
	rows, err := tx.Query(ctx, feedOfCaller, string(q.Callers[0]), feedOwn+1)
	if err != nil {
		return nil, false, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (candidate, error) { return scanOwn(row, h) })
	if err != nil || len(all) > feedOwn {
		return nil, false, err
	}
	return after(all, q.After, h), true, nil
}

// older makes one step along those of a caller's records that may be from before the feed.
func older(ctx context.Context, tx pgx.Tx, q idempotency.FeedQuery, h horizon) (found []candidate, next idempotency.Place, err error) {
	at, id := olderFrom(q.After)
	rows, err := tx.Query(ctx, feedOlder, string(q.Callers[0]), at, uuid(id), feedOwn)
	if err != nil {
		return nil, next, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (candidate, error) { return scanOwn(row, h) })
	if err != nil {
		return nil, next, err
	}
	next = idempotency.EndOf(0)
	for _, c := range all {
		if c.place.Commit == 0 {
			found = append(found, c)
		}
	}
	if len(all) == feedOwn {
		next = all[len(all)-1].olderPlace()
	}
	return after(found, q.After, h), next, nil
}

// after returns what can be read after a place, in order.
func after(all []candidate, place idempotency.Place, h horizon) []candidate {
	all = slices.DeleteFunc(all, func(c candidate) bool { return c.place.Compare(place) <= 0 || c.place.Commit >= h.xmin })
	slices.SortFunc(all, func(a, b candidate) int { return a.place.Compare(b.place) })
	return all
}

// In commit 0 the order is that of the last attempts: microseconds since 1970, and the first half of the id.
func (c *candidate) olderPlace() (p idempotency.Place) {
	binary.BigEndian.PutUint64(p.ID[:], uint64(c.claimed.UnixMicro()))
	copy(p.ID[8:], c.id[:])
	return p
}

func olderFrom(p idempotency.Place) (at pgtype.Timestamptz, id idempotency.OperationID) {
	if p == (idempotency.Place{}) {
		return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}, id
	}
	micros := binary.BigEndian.Uint64(p.ID[:])
	if micros > uint64(lastInstant.UnixMicro()) {
		return pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}, id
	}
	id = idempotency.EndOf(0).ID
	copy(id[:8], p.ID[8:])
	return pgtype.Timestamptz{Time: time.UnixMicro(int64(micros)), Valid: true}, id
}

var lastInstant = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// scanOwn reads a row of feed_of_caller.sql or feed_older.sql.
func scanOwn(row pgx.CollectableRow, h horizon) (c candidate, err error) {
	var changed string
	var id pgtype.UUID
	if err := row.Scan(&changed, &id, &c.day, &c.claimed); err != nil {
		return c, err
	}
	xid, err := strconv.ParseUint(changed, 10, 64)
	c.id = id.Bytes
	c.place = idempotency.Place{Commit: xid, ID: c.id}
	if h.foreign(xid) {
		c.place = c.olderPlace()
	}
	return c, err
}

// changes reads the records of candidates. They are there: it is one snapshot that all is read from.
func (s *Store) changes(ctx context.Context, tx pgx.Tx, found []candidate) ([]idempotency.Change, error) {
	if len(found) == 0 {
		return nil, nil
	}
	ids := make([]idempotency.OperationID, len(found))
	at := make(map[idempotency.OperationID]int, len(found))
	first, last := found[0].day, found[0].day
	for i, c := range found {
		ids[i], at[c.id] = c.id, i
		if c.day.Valid && (!first.Valid || c.day.Time.Before(first.Time)) {
			first = c.day
		}
		if c.day.Valid && (!last.Valid || c.day.Time.After(last.Time)) {
			last = c.day
		}
	}
	rows, err := tx.Query(ctx, feedRecords, uuids(ids), first, last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	changes := make([]idempotency.Change, len(found))
	row, n := newRow(true), 0
	var been int16
	row.columns = append(row.columns, &been)
	for rows.Next() {
		r, err := row.scan(rows, s.lease)
		if err != nil {
			return nil, err
		}
		i, ok := at[r.ID]
		if !ok {
			return nil, errUnasked
		}
		if r.State == idempotency.Completed && (r.Response == nil || len(r.seal) != 32 || r.Response.UnsealHeader(r.fields, [32]byte(r.seal)) != nil) {
			r.Response, r.Damaged = nil, true
		}
		r.Been = idempotency.StateSet(been)
		changes[i] = idempotency.Change{Place: found[i].place, Record: r.Record}
		n++
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if n != len(found) {
		return nil, fmt.Errorf("the server returned %d records instead of %d", n, len(found))
	}
	return changes, nil
}

// FeedSecret implements [idempotency.FeedStore].
func (s *Store) FeedSecret(ctx context.Context) (secret []byte, err error) {
	err = s.look(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, feedSecret).Scan(&secret) })
	return secret, err
}

// FeedLag implements [idempotency.FeedStore].
func (s *Store) FeedLag(ctx context.Context) (time.Duration, error) {
	var lag int64
	err := s.look(ctx, func(tx pgx.Tx) error { return tx.QueryRow(ctx, feedLag).Scan(&lag) })
	return time.Duration(max(lag, 0)) * time.Microsecond, err
}

// purgeFeed makes some steps of the walk along the feed that removes what no reader needs any more: rows of
// which no record changed last there. Nothing else is removed, however old, so no place is ever too old for
// what it leaves. Rows are looked at once they are as old as records become.
func (s *Store) purgeFeed(ctx context.Context) (more bool, err error) {
	for range feedPurgeSteps {
		more, err = s.purgeFeedSome(ctx)
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

func (s *Store) purgeFeedSome(ctx context.Context) (more bool, err error) {
	age := micros(s.keep.Key + s.grace)
	err = s.transact(ctx, func(tx pgx.Tx) error {
		var from, to string
		if err := tx.QueryRow(ctx, feedPurgeWalk).Scan(&from); err != nil {
			if err == pgx.ErrNoRows { // another gateway is walking
				return nil
			}
			return err
		}
		var seen int
		if err := tx.QueryRow(ctx, feedPurgeWindow, feedCommits, age).Scan(&seen, &to); err != nil {
			return err
		}
		if to != "0" {
			if _, err := tx.Exec(ctx, feedPurge, from, to, age); err != nil {
				return err
			}
		}
		// At the end of what is old enough the walk begins anew.
		more = seen >= feedCommits && to != "0"
		if !more {
			to = "0"
		}
		if to == from {
			return nil
		}
		_, err := tx.Exec(ctx, feedPurgeAdvance, to)
		return err
	})
	return more, err
}
