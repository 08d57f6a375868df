package client

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Dir is an Outbox of files: one directory, one file for each entry, named by a digest of its key.
//
// A file is three parts: a line with a name, a version and the SHA-256 of all that follows; a line of JSON; and the
// content of the request. It is written beside its place, synced, and renamed, so that after a crash there is the
// old one or the new one. What others may not read is in it: the directory is its owner's alone.
type Dir struct {
	path string
	lock *os.File
}

const (
	fileMagic  = "onceway-outbox 1 "
	fileSuffix = ".entry"
)

// OpenDir opens the outbox in a directory, and makes it if it is not there. The error says that another process
// has it, or is the file system's.
func OpenDir(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, fmt.Errorf("outbox %s: %w", path, err)
	}
	d := &Dir{path, lock}
	names, err := d.names(".tmp")
	if err != nil {
		lock.Close()
		return nil, err
	}
	for _, name := range names {
		_ = os.Remove(name) // of a Put that never returned
	}
	return d, nil
}

// Close lets another process open the outbox. No other method may run, or be called afterwards.
func (d *Dir) Close() error { return d.lock.Close() }

// Entries returns the entries, the oldest first. The error wraps ErrDamaged once for each file that is none.
func (d *Dir) Entries() ([]Entry, error) {
	names, err := d.names(fileSuffix)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	var damaged []error
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err == nil {
			var e Entry
			if e, err = decodeEntry(content); err == nil && d.name(e.Key) != name {
				err = fmt.Errorf("%w: it is another entry's", ErrDamaged)
			} else if err == nil {
				entries = append(entries, e)
			}
		}
		if err != nil {
			damaged = append(damaged, fmt.Errorf("%s: %w", name, err))
		}
	}
	return oldestFirst(entries), errors.Join(damaged...)
}

func (d *Dir) Put(e Entry) error {
	f, err := os.CreateTemp(d.path, "*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(encodeEntry(e))
	if err == nil {
		err = f.Sync()
	}
	if errOfClose := f.Close(); err == nil {
		err = errOfClose
	}
	if err == nil {
		err = os.Rename(f.Name(), d.name(e.Key))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncDir(d.path)
}

func (d *Dir) Remove(key string) error {
	if err := os.Remove(d.name(key)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (d *Dir) name(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(d.path, hex.EncodeToString(sum[:])+fileSuffix)
}

func (d *Dir) names(suffix string) (names []string, err error) {
	all, err := os.ReadDir(d.path)
	for _, f := range all {
		if strings.HasSuffix(f.Name(), suffix) {
			names = append(names, filepath.Join(d.path, f.Name()))
		}
	}
	return names, err
}

func encodeEntry(e Entry) []byte {
	head, _ := json.Marshal(e) // strings, numbers and times
	rest := append(append(head, '\n'), e.Body...)
	sum := sha256.Sum256(rest)
	return append([]byte(fileMagic+hex.EncodeToString(sum[:])+"\n"), rest...)
}

func decodeEntry(content []byte) (e Entry, err error) {
	first, rest, ok := bytes.Cut(content, []byte("\n"))
	digest, magic := strings.CutPrefix(string(first), fileMagic)
	switch sum := sha256.Sum256(rest); {
	case ok && !magic && strings.HasPrefix(string(first), strings.Fields(fileMagic)[0]+" "):
		return e, fmt.Errorf("%w: it was written by another version", ErrDamaged)
	case !ok || !magic || digest != hex.EncodeToString(sum[:]):
		return e, fmt.Errorf("%w: it does not have its digest", ErrDamaged)
	}
	head, body, _ := bytes.Cut(rest, []byte("\n"))
	if err := json.Unmarshal(head, &e); err != nil {
		return e, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if len(body) > 0 {
		e.Body = body
	}
	return e, nil
}
