package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Store is one SQLite file. It implements the interfaces of package idempotency that are about stores,
// and is safe for concurrent use.
type Store struct {
	path    string
	file    os.FileInfo // of what was opened
	log     os.FileInfo // and its log
	options Options
	lock    *os.File

	// writer holds the one connection that writes, or nil after a failure that may have left a
	// transaction open on it; the next batch opens another. readers and askers are filled with connections.
	writer  chan *conn
	readers chan *conn
	askers  chan *conn // of those who only ask
	closing chan struct{}
	close   sync.Once
	closed  error

	// owner is who has the lease; nil if nobody.
	owner atomic.Pointer[idempotency.Owner]

	history   idempotency.FeedHistory   // of this opening of the file
	walked    atomic.Int64              // how far the walk along the feed has come
	compacted atomic.Pointer[time.Time] // when that was last, by a clock that nobody sets
}

var (
	_ idempotency.Store          = (*Store)(nil)
	_ idempotency.AskStore       = (*Store)(nil)
	_ idempotency.LeaseStore     = (*Store)(nil)
	_ idempotency.RetentionStore = (*Store)(nil)
	_ idempotency.CensusStore    = (*Store)(nil)
	_ idempotency.ProbeStore     = (*Store)(nil)
	_ idempotency.SpoolStore     = (*Store)(nil)
	_ idempotency.InstanceStore  = (*Store)(nil)
	_ idempotency.OwnStore       = (*Store)(nil)
	_ idempotency.SearchStore    = (*Store)(nil)
	_ idempotency.FeedStore      = (*Store)(nil)
)

// ErrClosed says that the store was closed before the call began.
var ErrClosed = errors.New("store is closed")

// Open takes the file at path, creating it (readable by its owner only) if there is none, and keeps it
// from other processes until Close. The schema must be there: see package migrations. The errors are
// for people: they name the path and say what to do.
func Open(_ context.Context, path string, o Options) (*Store, error) {
	path, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	f, err := lock(path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, options: o.withDefaults(), lock: f, closing: make(chan struct{})}
	if err := s.connect(); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", path, err), f.Close())
	}
	return s, nil
}

func (s *Store) connect() (err error) {
	if err := create(s.path); err != nil {
		return err
	}
	if s.file, err = os.Stat(s.path); err != nil {
		return err
	}
	var opened []*conn
	defer func() {
		if err != nil {
			for _, c := range opened {
				err = errors.Join(err, c.Close())
			}
		}
	}()
	for i := range 1 + s.options.Readers + s.options.Askers {
		c, err := connect(s.path, i > 0)
		if err != nil {
			return err
		}
		opened = append(opened, c)
	}
	for _, name := range []string{"insert_request", "update_request_if_unchanged", "insert_payload", "insert_evidence", "acquire", "insert_instance", "insert_changes"} {
		if _, err := opened[0].statement(name); err != nil {
			return fmt.Errorf("the schema is not the one this version needs; run onceway migrate up: %w", err)
		}
	}
	if err := s.begin(opened[0]); err != nil {
		return err
	}
	if s.log, err = os.Stat(s.path + logSuffix); err != nil {
		return err
	}
	s.writer = make(chan *conn, 1)
	s.readers = make(chan *conn, s.options.Readers)
	s.askers = make(chan *conn, s.options.Askers)
	s.writer <- opened[0]
	for _, c := range opened[1 : 1+s.options.Readers] {
		s.readers <- c
	}
	for _, c := range opened[1+s.options.Readers:] {
		s.askers <- c
	}
	return nil
}

// Close waits for the calls under way, closes the file and gives it free. It may be called twice.
func (s *Store) Close() error {
	s.close.Do(func() {
		close(s.closing)
		var errs []error
		for range cap(s.readers) {
			errs = append(errs, (<-s.readers).Close())
		}
		for range cap(s.askers) {
			errs = append(errs, (<-s.askers).Close())
		}
		if w := <-s.writer; w != nil {
			errs = append(errs, w.Close()) // the last to close copies the log into the file
		}
		s.owner.Store(nil)
		s.closed = errors.Join(append(errs, s.lock.Close())...)
	})
	return s.closed
}

// now is the instant of a call, in the precision that is stored.
func (s *Store) now() time.Time { return s.options.Clock().UTC().Truncate(time.Microsecond) }

func (s *Store) holds(o idempotency.Owner) bool {
	owner := s.owner.Load()
	return owner != nil && *owner == o
}
