package client

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func openDir(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func entries(t *testing.T, o Outbox) []Entry {
	t.Helper()
	all, err := o.Entries()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var some = []Entry{
	{Key: "a/b%2F\"'", Method: "POST", URL: "https://shop.test/orders?a=b", Host: "other.test", Header: http.Header{"Content-Type": {"application/json"}, "X": {"1", "2"}},
		Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Standing: Standing{State: Doubt, Sends: 3}, Body: []byte("line\nline\x00\xff\n")},
	{Key: "b", Method: "PATCH", URL: "https://shop.test/", Created: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC), Standing: Standing{State: Cancelling, Sends: 1}},
}

func TestOutboxesKeepEntries(t *testing.T) {
	for name, o := range map[string]Outbox{"memory": NewMemory(), "files": openDir(t, t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			for _, e := range []Entry{some[1], some[0], {Key: "c", Created: time.Now()}} {
				if err := o.Put(e); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := o.Remove("c"); err != nil {
					t.Fatal(err)
				}
			}
			if got := entries(t, o); !reflect.DeepEqual(got, some) {
				t.Errorf("got %+v", got)
			}
			moved := some[1]
			moved.State = Acknowledging
			if err := o.Put(moved); err != nil {
				t.Fatal(err)
			}
			if got := entries(t, o); len(got) != 2 || got[1].State != Acknowledging {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// One process at a time; the next one finds everything, also what a Put left behind that never ended.
func TestDirIsForOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out", "box")
	first, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Put(some[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(path); !errors.Is(err, ErrInUse) {
		t.Errorf("the second one got %v", err)
	}
	if err := os.WriteFile(filepath.Join(path, "123.tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	first.Close()
	second := openDir(t, path)
	if got := entries(t, second); len(got) != 1 || got[0].Key != some[0].Key {
		t.Errorf("got %+v", got)
	}
	if left, _ := filepath.Glob(filepath.Join(path, "*.tmp")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A file with any byte changed, or cut anywhere, is not an entry; the others are read all the same.
func TestDamagedEntriesAreTold(t *testing.T) {
	whole := encodeEntry(some[0])
	if back, err := decodeEntry(whole); err != nil || !reflect.DeepEqual(back, some[0]) {
		t.Fatalf("%+v, %v", back, err)
	}
	for i := range whole {
		changed := append([]byte(nil), whole...)
		changed[i] ^= 0x20
		for _, content := range [][]byte{changed, whole[:i]} {
			if e, err := decodeEntry(content); !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d: %+v, %v", i, e, err)
			}
		}
	}
	d := openDir(t, t.TempDir())
	for _, e := range some {
		if err := d.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(d.name(some[1].Key), whole, 0o600); err != nil { // whole, and another's
		t.Fatal(err)
	}
	got, err := d.Entries()
	if !errors.Is(err, ErrDamaged) || len(got) != 1 || got[0].Key != some[0].Key {
		t.Errorf("%+v, %v", got, err)
	}
	c, err := New(Options{Outbox: d})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Entries()) != 1 {
		t.Errorf("%+v", c.Entries())
	}
}
