package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/onceway/onceway/idempotency/filelock"
)

// CheckFile says whether a store may live at path, and if not, why: its directory must be there and on
// a local file system. It creates nothing.
func CheckFile(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("store %s: there is no directory %s", path, dir)
	case err != nil:
		return fmt.Errorf("store %s: %w", path, err)
	case !info.IsDir():
		return fmt.Errorf("store %s: %s is not a directory", path, dir)
	}
	kind, local := fileSystem(dir)
	if !local {
		return fmt.Errorf("store %s: it lies on a network file system (%s), where locks and commits cannot be relied on; use a local disk, or Postgres", path, kind)
	}
	return nil
}

// Resolve returns the one path of a store's file, which need not be there yet. SQLite's log and our lock lie beside
// the file and are found by its name: whoever opened it by another name would not meet them.
func Resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("store: %w", err)
	}
	if err := CheckFile(path); err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("store %s: %w", path, err)
	}
	there := filepath.Join(dir, filepath.Base(path))
	info, err := os.Lstat(there)
	if errors.Is(err, fs.ErrNotExist) {
		return there, nil
	}
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if there, err = filepath.EvalSymlinks(there); errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("store %s: it is a symbolic link to a file that is not there", path)
		}
		if err == nil {
			info, err = os.Stat(there)
		}
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("store %s: %w", path, unwritable(path, err))
	case info.IsDir():
		return "", fmt.Errorf("store %s: it is a directory; name a file in it, such as %s", path, filepath.Join(path, "onceway.db"))
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("store %s: it is no file but %v", path, info.Mode().Type())
	case names(info) > 1:
		return "", fmt.Errorf("store %s: the file has %d names (hard links), and a second process could open it by another one; remove all but one", path, names(info))
	}
	return there, nil
}

// InPlace returns an error if the file that was opened, or its log, is no longer the one at its path. Whatever is written
// now goes with the process: the next one would not find it, and execute all of it again. Of a log alone that holds until
// it is closed in good order, which copies it into the file.
func (s *Store) InPlace() error {
	if err := inPlace(s.path, s.file); err != nil {
		return fmt.Errorf("store %s: the file that is open has been moved or deleted: %w; put it back, or stop the gateway", s.path, err)
	}
	if err := inPlace(s.path+logSuffix, s.log); err != nil {
		return fmt.Errorf("store %s: its log, %s, has been moved or deleted: %w; put it back, or stop the gateway by SIGTERM, which loses nothing, "+
			"and start it again", s.path, filepath.Base(s.path+logSuffix), err)
	}
	return nil
}

// logSuffix names SQLite's write-ahead log, beside the file. It is there as long as a connection is.
const logSuffix = "-wal"

func inPlace(path string, opened os.FileInfo) error {
	info, err := os.Stat(path)
	if err == nil && !os.SameFile(info, opened) {
		err = errors.New("another file has taken its place")
	}
	return err
}

// lock takes the exclusive lock on path.lock.
func lock(path string) (*os.File, error) {
	f, err := filelock.Take(path + ".lock")
	var held *filelock.HeldError
	switch {
	case errors.As(err, &held):
		return nil, fmt.Errorf("store %s is %w; several gateways need Postgres", path, err)
	case errors.Is(err, filelock.ErrNoLocks):
		return nil, fmt.Errorf("store %s: the embedded store needs a Unix system; use Postgres", path)
	case err != nil:
		return nil, fmt.Errorf("store %s: %w", path, unwritable(path, err))
	}
	return f, nil
}

// create makes an empty file that only its owner can read, for it will hold callers' data, if there
// is none.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return unwritable(path, err)
	}
	return f.Close()
}

func unwritable(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("this user may not write %s; SQLite needs to write the file and its directory: %w", path, err)
	}
	return err
}
