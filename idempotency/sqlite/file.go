package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
