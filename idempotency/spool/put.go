package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/onceway/onceway/idempotency"
)

// Step is a point in Put at which a process may die.
type Step uint8

const (
	Written Step = iota // not synced
	Synced              // under the name of a file that is being written
	Renamed             // the directory is not synced
	Durable             // nobody has been told
)

func (s Step) String() string { return [...]string{"written", "synced", "renamed", "durable"}[s] }

// Put implements idempotency.LocalSpool.
func (s *Spool) Put(e idempotency.Spooled) error {
	b, err := encode(e)
	if err != nil {
		return err
	}
	if err := s.reserve(int64(len(b))); err != nil {
		return err
	}
	s.syncs <- struct{}{}
	there, err := s.write(e.Record.Attempt.ID, b)
	<-s.syncs
	if err != nil {
		err = fmt.Errorf("spool %s: %w", s.dir, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !there {
		s.used -= int64(len(b))
		return err
	}
	s.used -= s.entries[e.Record.Attempt.ID].size // of the one that is replaced
	s.entries[e.Record.Attempt.ID] = held{e.Entry(), int64(len(b))}
	return err
}

// reserve takes n bytes of the limit.
func (s *Spool) reserve(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.used+n > s.options.Limit:
		return fmt.Errorf("%w: %s holds %d bytes, and %d more would exceed its limit of %d; raise spool_limit, or bring the store back",
			idempotency.ErrSpoolFull, s.dir, s.used, n, s.options.Limit)
	}
	s.used += n
	return nil
}

// write makes b durable under the name of attempt a, and reports whether b is there. After an error there
// is nothing new under that name, as far as the disk still does what it is told; only where b has replaced
// what somebody may have been told of, it stays: one of the two survives a power failure.
func (s *Spool) write(a idempotency.AttemptID, b []byte) (there bool, err error) {
	confirmed := s.has(a)
	final := filepath.Join(s.dir, fileName(a))
	writing := filepath.Join(s.dir, a.String()+writingSuffix)
	if err := s.writeSynced(writing, b); err != nil {
		return false, errors.Join(err, remove(writing))
	}
	if err := os.Rename(writing, final); err != nil {
		return false, errors.Join(err, remove(writing))
	}
	s.reach(Renamed)
	if err := s.options.syncNames(s.dir); err != nil {
		if confirmed {
			return true, err
		}
		return false, errors.Join(err, remove(final))
	}
	s.reach(Durable)
	return true, nil
}

func (s *Spool) writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	s.reach(Written)
	if err := s.options.sync(f); err != nil {
		return errors.Join(err, f.Close())
	}
	s.reach(Synced)
	return f.Close()
}

func (s *Spool) reach(at Step) {
	if s.options.Step != nil {
		s.options.Step(at)
	}
}

// remove is best effort: what stays is the truth about its attempt, and does no harm.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (o Options) syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(o.sync(f), f.Close())
}

// syncNames makes the names in a directory durable.
func (o Options) syncNames(dir string) error { return o.syncFile(dir) }
