package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/filelock"
)

// Options of a spool. The zero value is the default.
type Options struct {
	// Limit bounds the bytes of all files together, those that were put aside included. Default 256 MiB.
	Limit int64
	// Damaged, if not nil, hears of each entry that does not match its digest and was put aside as path.
	Damaged func(path string)
	// Step, if not nil, is called at each step of a Put. It is for tests, which die there.
	Step func(Step)

	sync func(*os.File) error // fsync. Tests make it fail
}

// Spool is one directory. It implements idempotency.LocalSpool.
type Spool struct {
	dir     string
	options Options
	lock    *os.File
	home    home
	syncs   chan struct{} // a slot for each Put that is with the disk

	mu      sync.Mutex
	closed  bool
	entries map[idempotency.AttemptID]held
	used    int64 // bytes of entries, of what is put aside, and of what is being written
	aside   int   // files
}

var _ idempotency.LocalSpool = (*Spool)(nil)

// held is an entry in the index.
type held struct {
	idempotency.SpooledEntry
	size int64
}

// Suffixes of file names; before them stands the attempt's id.
const (
	entrySuffix   = ".entry"
	writingSuffix = ".writing"
	damagedSuffix = ".damaged"
)

// width is how many files are synced at once: a disk does many together as fast as one.
const width = 32

// ErrClosed says that the spool was closed.
var ErrClosed = errors.New("the spool is closed")

// Open takes the directory at path, creating it if there is none, and keeps it from other processes until
// Close. The errors are for people: they name the path and say what to do.
func Open(path string, o Options) (*Spool, error) {
	if o.Limit <= 0 {
		o.Limit = 256 << 20
	}
	dir, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if o.sync == nil {
		o.sync = (*os.File).Sync
	}
	if err := prepare(dir, o); err != nil {
		return nil, fmt.Errorf("spool %s: %w", dir, err)
	}
	f, err := lock(dir)
	if err != nil {
		return nil, fmt.Errorf("spool %s: %w", dir, err)
	}
	s := &Spool{dir: dir, options: o, lock: f, syncs: make(chan struct{}, width), entries: make(map[idempotency.AttemptID]held)}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("spool %s: %w", dir, err), f.Close())
	}
	return s, nil
}

// lock takes the exclusive lock on a file in the directory.
func lock(dir string) (*os.File, error) {
	f, err := filelock.Take(filepath.Join(dir, "lock"))
	var held *filelock.HeldError
	switch {
	case errors.As(err, &held):
		return nil, fmt.Errorf("it is %w; every gateway needs a spool of its own", err)
	case errors.Is(err, filelock.ErrNoLocks):
		return nil, errors.New("the spool needs a Unix system")
	}
	return f, err
}

func prepare(dir string, o Options) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return errors.New("it is a file; the spool is a directory: name another one")
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	// Only the last element: a parent that is not there is a disk that is not mounted.
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no directory %s", filepath.Dir(dir))
	} else if err != nil {
		return err
	}
	return o.syncNames(filepath.Dir(dir))
}

// load reads every file. What was being written when a process ended is an answer too, if it is whole.
func (s *Spool) load() error {
	if err := s.findHome(); err != nil {
		return err
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		switch filepath.Ext(f.Name()) {
		case entrySuffix:
			err = s.loadEntry(f.Name())
		case writingSuffix:
			err = s.adopt(f.Name())
		case damagedSuffix:
			var info fs.FileInfo
			if info, err = f.Info(); err == nil {
				s.used, s.aside = s.used+info.Size(), s.aside+1
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) loadEntry(name string) error {
	path := filepath.Join(s.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	e, err := decode(b)
	if err == nil && name != fileName(e.Record.Attempt.ID) {
		err = idempotency.ErrDamaged
	}
	if err != nil && !errors.Is(err, idempotency.ErrDamaged) {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.used += int64(len(b))
	if err != nil {
		return s.putAside(path)
	}
	s.entries[e.Record.Attempt.ID] = held{e.Entry(), int64(len(b))}
	return nil
}

// adopt takes a file whose Put did not return: nobody has been told, but what it says is true.
func (s *Spool) adopt(name string) error {
	path := filepath.Join(s.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	final := strings.TrimSuffix(name, writingSuffix) + entrySuffix
	if _, err := decode(b); err != nil {
		return os.Remove(path) // cut short
	}
	if err := s.options.syncFile(path); err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(s.dir, final)); err != nil {
		return err
	}
	if err := s.options.syncNames(s.dir); err != nil {
		return err
	}
	return s.loadEntry(final)
}

// putAside renames a damaged file, so that people can look at it and nobody answers with it.
func (s *Spool) putAside(path string) error {
	to := strings.TrimSuffix(path, entrySuffix) + damagedSuffix
	if err := os.Rename(path, to); err != nil {
		return err
	}
	s.aside++
	if s.options.Damaged != nil {
		s.options.Damaged(to)
	}
	return nil
}

// Get implements idempotency.LocalSpool.
func (s *Spool) Get(a idempotency.AttemptID) (idempotency.Spooled, error) {
	s.mu.Lock()
	_, ok := s.entries[a]
	closed := s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return idempotency.Spooled{}, ErrClosed
	case !ok:
		return idempotency.Spooled{}, idempotency.ErrNotSpooled
	}
	path := filepath.Join(s.dir, fileName(a))
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !s.has(a) {
			return idempotency.Spooled{}, idempotency.ErrNotSpooled // removed at this very moment
		}
		s.drop(a)
		return idempotency.Spooled{}, idempotency.ErrDamaged // somebody else took it away
	}
	if err != nil {
		return idempotency.Spooled{}, err
	}
	e, err := decode(b)
	if err == nil && e.Record.Attempt.ID != a {
		err = idempotency.ErrDamaged
	}
	if errors.Is(err, idempotency.ErrDamaged) {
		return idempotency.Spooled{}, errors.Join(err, s.damaged(a, path))
	}
	return e, err
}

func (s *Spool) damaged(a idempotency.AttemptID, path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries[a]; !ok {
		return nil // another reader has put it aside
	}
	delete(s.entries, a)
	return s.putAside(path)
}

func (s *Spool) has(a idempotency.AttemptID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.entries[a]
	return ok
}

// drop takes an entry out of the index.
func (s *Spool) drop(a idempotency.AttemptID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h, ok := s.entries[a]; ok {
		delete(s.entries, a)
		s.used -= h.size
	}
}

// Remove implements idempotency.LocalSpool. It does not wait for the disk.
func (s *Spool) Remove(a idempotency.AttemptID) error {
	if !s.has(a) {
		return nil
	}
	if err := os.Remove(filepath.Join(s.dir, fileName(a))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.drop(a)
	return nil
}

// List implements idempotency.LocalSpool.
func (s *Spool) List() []idempotency.SpooledEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]idempotency.SpooledEntry, 0, len(s.entries))
	for _, h := range s.entries {
		list = append(list, h.SpooledEntry)
	}
	slices.SortFunc(list, func(a, b idempotency.SpooledEntry) int { return a.Since.Compare(b.Since) })
	return list
}

// Status is what operators want to know of a spool.
type Status struct {
	Depth   int       // entries
	Bytes   int64     // of all files
	Limit   int64     // in bytes
	Oldest  time.Time // entry; zero if there is none
	Damaged int       // entries that were put aside
}

// Status returns what is there now.
func (s *Spool) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Depth: len(s.entries), Bytes: s.used, Limit: s.options.Limit, Damaged: s.aside}
	for _, h := range s.entries {
		if st.Oldest.IsZero() || h.Since.Before(st.Oldest) {
			st.Oldest = h.Since
		}
	}
	return st
}

// Close gives the directory free. Entries stay. It may be called twice.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.lock.Close()
}

func fileName(a idempotency.AttemptID) string { return a.String() + entrySuffix }
