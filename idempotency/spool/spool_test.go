package spool_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/spool"
)

var keep = idempotency.Retention{Response: time.Hour, Key: 24 * time.Hour}

// entry is an outcome of the operation of a name, with everything set that a record can have after a claim.
func entry(name string, outcome func(idempotency.Attempt) idempotency.Transition) idempotency.Spooled {
	op := idempotency.Operation{Caller: "caller \xff\x00", Key: idempotency.Key(name)}
	now := time.Date(2026, 11, 21, 6, 30, 0, 123456000, time.UTC)
	r := idempotency.Record{
		ID: op.ID(), Operation: op, State: idempotency.Executing, Revision: 3, Method: "POST", Target: "/orders?a=\xff", Route: "orders",
		Fingerprint: idempotency.Fingerprint{Version: 1, Sum: [32]byte{7}}, Resend: true, Doubted: true,
		Trace:     idempotency.Trace{TraceID: [16]byte{1, 2}, SpanID: [8]byte{3}},
		FirstSeen: now, Claimed: now.Add(1), Deadline: now.Add(2), Expires: now.Add(3), Observed: now.Add(4),
	}
	r.Attempt = idempotency.Attempt{Operation: r.ID, ID: idempotency.NewAttemptID(), N: 2, Owner: idempotency.Owner{Instance: [16]byte{9}, Epoch: 4}}
	return idempotency.Spooled{Record: r, Outcome: outcome(r.Attempt), Since: now.Add(time.Second)}
}

// A field that a record gains must not be lost on the way through a file.
func TestEntriesOfTheseTestsHaveEveryField(t *testing.T) {
	r := reflect.ValueOf(entry("a", released).Record)
	afterwards := []string{"Cause", "Contradicted", "Damaged", "Response", "Resolution", "Settled", "BodyExpires"} // none of a claimed record's
	afterwards = append(afterwards, "Been")                                                                        // which the store counts by itself
	for i := range r.NumField() {
		if name := r.Type().Field(i).Name; r.Field(i).IsZero() != slices.Contains(afterwards, name) {
			t.Errorf("%s: %v", name, r.Field(i))
		}
	}
}

func answered(body string) func(idempotency.Attempt) idempotency.Transition {
	return func(a idempotency.Attempt) idempotency.Transition {
		header := map[string][]string{"Content-Type": {"text/plain"}, "X-Bytes": {"\xff", ""}}
		return idempotency.Complete{Attempt: a, Response: idempotency.NewResponse(201, header, []byte(body)), Retention: keep}
	}
}

func bodiless(a idempotency.Attempt) idempotency.Transition {
	return idempotency.Complete{Attempt: a, Response: idempotency.NewResponse(200, nil, []byte("large")).Bodiless(), Retention: keep}
}

func released(a idempotency.Attempt) idempotency.Transition {
	return idempotency.Release{Attempt: a, Cause: "dial", Retention: keep}
}

func open(t testing.TB, dir string, o spool.Options) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, s *spool.Spool, e idempotency.Spooled) {
	t.Helper()
	if err := s.Put(e); err != nil {
		t.Fatal(err)
	}
}

func wants(t testing.TB, s *spool.Spool, want idempotency.Spooled) {
	t.Helper()
	got, err := s.Get(want.Record.Attempt.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v\nput\n%+v", got, want)
	}
}

func lacks(t testing.TB, s *spool.Spool, e idempotency.Spooled, want error) {
	t.Helper()
	if _, err := s.Get(e.Record.Attempt.ID); !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// file is the one file with a suffix.
func file(t testing.TB, dir, suffix string) string {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if len(names) != 1 {
		t.Fatalf("%d files end with %s", len(names), suffix)
	}
	return names[0]
}

func TestWhatWasPutIsReadAlsoAfterAnotherOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, dir, spool.Options{})
	all := []idempotency.Spooled{entry("a", answered("made")), entry("b", bodiless), entry("c", released), entry("d", answered(""))}
	for i := range all {
		all[i].Since = all[i].Since.Add(time.Duration(-i) * time.Minute)
		put(t, s, all[i])
	}
	put(t, s, all[0]) // again, without a second entry
	check := func(s *spool.Spool) {
		t.Helper()
		for _, e := range all {
			wants(t, s, e)
		}
		list := s.List()
		for i, e := range list {
			if want := all[len(all)-1-i].Entry(); e != want {
				t.Errorf("entry %d is %+v, want %+v", i, e, want)
			}
		}
		if st := s.Status(); len(list) != len(all) || st.Depth != len(all) || !st.Oldest.Equal(all[3].Since) || st.Damaged != 0 {
			t.Errorf("%d entries, %+v", len(list), st)
		}
	}
	check(s)
	bytes, instance := s.Status().Bytes, s.Instance()
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(all[0]); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("Put after Close: %v", err)
	}
	s = open(t, dir, spool.Options{})
	check(s)
	if s.Status().Bytes != bytes || s.Instance() != instance || instance == [16]byte{} {
		t.Errorf("%d bytes of %x, before %d of %x", s.Status().Bytes, s.Instance(), bytes, instance)
	}
	for _, e := range all {
		if err := errors.Join(s.Remove(e.Record.Attempt.ID), s.Remove(e.Record.Attempt.ID)); err != nil {
			t.Error(err)
		}
		lacks(t, s, e, idempotency.ErrNotSpooled)
	}
	if st := s.Status(); st.Depth != 0 || st.Bytes != 0 || !st.Oldest.IsZero() {
		t.Errorf("after the last: %+v", st)
	}
}

// Callers' data is for the owner of the process only.
func TestFilesAreTheirOwnersOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, dir, spool.Options{})
	put(t, s, entry("a", answered("secret")))
	for _, path := range []string{dir, file(t, dir, ".entry")} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// One flipped bit anywhere, or any number of bytes cut off: the entry is put aside and never answered with.
func TestADamagedEntryIsPutAside(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, spool.Options{})
	e := entry("a", answered("made"))
	put(t, s, e)
	name := file(t, dir, ".entry")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	damage := [][]byte{{}, whole[:len(whole)/2], whole[:len(whole)-1], make([]byte, len(whole))}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1
		damage = append(damage, b)
	}
	for _, b := range damage {
		alarms := 0
		o := spool.Options{Damaged: func(string) { alarms++ }}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, o)
		lacks(t, s, e, idempotency.ErrNotSpooled)
		if st := s.Status(); alarms != 1 || len(s.List()) != 0 || st.Damaged != 1 || st.Bytes != int64(len(b)) {
			t.Fatalf("%d alarms, %d entries, %+v", alarms, len(s.List()), st)
		}
		s.Close()
		if kept, err := os.ReadFile(file(t, dir, ".damaged")); err != nil || string(kept) != string(b) {
			t.Fatalf("what was damaged is not kept: %v", err)
		}
		os.Remove(file(t, dir, ".damaged"))
	}
}

func TestDamageThatComesWhileItIsOpen(t *testing.T) {
	dir := t.TempDir()
	alarms := 0
	s := open(t, dir, spool.Options{Damaged: func(string) { alarms++ }})
	e, gone, fine := entry("a", answered("made")), entry("b", answered("made")), entry("c", answered("made"))
	put(t, s, e)
	name := file(t, dir, ".entry")
	b, _ := os.ReadFile(name)
	b[len(b)-40] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	lacks(t, s, e, idempotency.ErrDamaged)
	lacks(t, s, e, idempotency.ErrNotSpooled)
	if st := s.Status(); alarms != 1 || st.Damaged != 1 || st.Depth != 0 {
		t.Errorf("%d alarms, %+v", alarms, st)
	}
	put(t, s, gone)
	os.Remove(file(t, dir, ".entry"))
	lacks(t, s, gone, idempotency.ErrDamaged)
	put(t, s, fine)
	wants(t, s, fine)
}

// A file under another's name is not that other's answer.
func TestAnEntryUnderAnotherNameIsDamaged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, spool.Options{})
	a, b := entry("a", answered("a's")), entry("b", answered("b's"))
	put(t, s, a)
	name := file(t, dir, ".entry")
	theirs, _ := os.ReadFile(name)
	os.Remove(name)
	put(t, s, b)
	if err := os.WriteFile(file(t, dir, ".entry"), theirs, 0o600); err != nil {
		t.Fatal(err)
	}
	lacks(t, s, b, idempotency.ErrDamaged)
}

func TestTheLimitRefusesAndSaysSo(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, spool.Options{Limit: 4000})
	first, second := entry("a", answered(strings.Repeat("x", 1500))), entry("b", answered(strings.Repeat("x", 1500)))
	put(t, s, first)
	err := s.Put(second)
	if !errors.Is(err, idempotency.ErrSpoolFull) || !strings.Contains(err.Error(), "4000") || !strings.Contains(err.Error(), "spool_limit") {
		t.Fatal(err)
	}
	lacks(t, s, second, idempotency.ErrNotSpooled)
	wants(t, s, first)
	if err := s.Remove(first.Record.Attempt.ID); err != nil {
		t.Fatal(err)
	}
	put(t, s, second)
	// Many at once: none slips past the limit.
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := s.Put(entry("c", answered("x"))); err != nil && !errors.Is(err, idempotency.ErrSpoolFull) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if st := s.Status(); st.Bytes > 4000 || st.Depth < 2 {
		t.Errorf("%+v", st)
	}
}

// A disk that takes nothing leaves no trace and no wrong figures.
func TestADiskThatRefuses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, spool.Options{})
	e := entry("a", answered("made"))
	inTheWay := filepath.Join(dir, e.Record.Attempt.ID.String()+".writing", "x")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(e); err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("error %v", err)
	}
	isEmpty(t, s, e)
	os.RemoveAll(filepath.Dir(inTheWay))
	put(t, s, e)
	wants(t, s, e)
}

// What could not be synced, as a file or as a name, is not confirmed, and is not there.
func TestAFailedSyncConfirmsNothing(t *testing.T) {
	for failing := range 2 {
		dir := t.TempDir()
		syncs := -10 // Open has its own
		s := open(t, dir, spool.WithSync(spool.Options{}, func(f *os.File) error {
			if syncs++; syncs == failing {
				return errors.New("input/output error")
			}
			return f.Sync()
		}))
		syncs = -1
		e := entry("a", answered("made"))
		if err := s.Put(e); err == nil || !strings.Contains(err.Error(), "input/output error") {
			t.Fatalf("sync %d failed, and Put says %v", failing, err)
		}
		isEmpty(t, s, e)
		put(t, s, e)
		wants(t, s, e)
		if syncs < failing+2 {
			t.Errorf("%d syncs", syncs+1)
		}
	}
}

func isEmpty(t *testing.T, s *spool.Spool, e idempotency.Spooled) {
	t.Helper()
	if st := s.Status(); st.Depth != 0 || st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
	lacks(t, s, e, idempotency.ErrNotSpooled)
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, spool.Options{})
	if _, err := spool.Open(dir, spool.Options{}); err == nil || !strings.Contains(err.Error(), "another onceway process (pid ") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("error %v", err)
	}
	s.Close()
	open(t, dir, spool.Options{})
}

func TestAnotherStoreIsRefusedWhileThereAreEntries(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, spool.Options{})
	for _, store := range []string{"one", "two", "two"} { // as long as it is empty
		if err := s.Bind(store); err != nil {
			t.Fatal(err)
		}
	}
	e := entry("a", released)
	put(t, s, e)
	s.Close()
	s = open(t, dir, spool.Options{})
	if err := s.Bind("one"); err == nil || !strings.Contains(err.Error(), "1 outcomes for another store (two; this one is one)") {
		t.Fatalf("error %v", err)
	}
	if err := s.Bind("two"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(e.Record.Attempt.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Bind("one"); err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeASpoolIsRefused(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "file")
	os.WriteFile(plain, []byte("x"), 0o600)
	newer := filepath.Join(dir, "newer")
	os.Mkdir(newer, 0o700)
	os.WriteFile(filepath.Join(newer, "spool.json"), []byte(`{"version": 2}`), 0o600)
	broken := filepath.Join(dir, "broken")
	os.Mkdir(broken, 0o700)
	os.WriteFile(filepath.Join(broken, "spool.json"), []byte(`{`), 0o600)
	for path, want := range map[string]string{
		plain: "it is a file", filepath.Join(dir, "no", "such"): "there is no directory", newer: "version 2", broken: "spool.json",
	} {
		if _, err := spool.Open(path, spool.Options{}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}

// A second Put that fails does not take away what the first one has confirmed: somebody has been told of it.
func TestAFailedSecondPutLeavesWhatWasConfirmed(t *testing.T) {
	for failing := range 2 {
		dir := t.TempDir()
		syncs := -10 // Open has its own
		s := open(t, dir, spool.WithSync(spool.Options{}, func(f *os.File) error {
			if syncs++; syncs == failing {
				return errors.New("input/output error")
			}
			return f.Sync()
		}))
		syncs = -10
		e := entry("a", answered("made"))
		put(t, s, e)
		before := s.Status()
		syncs = -1
		if err := s.Put(e); err == nil {
			t.Fatalf("sync %d failed, and Put says nothing", failing)
		}
		wants(t, s, e)
		if st := s.Status(); st != before {
			t.Errorf("sync %d failed: %+v, want %+v", failing, st, before)
		}
		s.Close()
		wants(t, open(t, dir, spool.Options{}), e)
	}
}
