//go:build !unix

package sqlite

import (
	"fmt"
	"io/fs"
	"os"
)

// lock refuses: without flock(2) nothing here keeps a second process off the file.
func lock(path string) (*os.File, error) {
	return nil, fmt.Errorf("store %s: the embedded store needs a Unix system; use Postgres", path)
}

func names(fs.FileInfo) uint64 { return 1 }
