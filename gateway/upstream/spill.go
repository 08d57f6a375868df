package upstream

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/onceway/onceway/idempotency"
)

// Spill is a response content in a file that has no name any more where the system allows that, so
// that nothing of it outlives the process. Close gives the space back.
type Spill struct {
	io.ReaderAt
	Length int64
	Digest [32]byte // SHA-256
	file   *os.File
	name   string // empty once the file has no name
}

// Reader returns a reader of the whole content. Several may be used at once.
func (s *Spill) Reader() *io.SectionReader { return io.NewSectionReader(s.file, 0, s.Length) }

// Close closes the file and removes it. A second call only fails.
func (s *Spill) Close() error {
	err := s.file.Close()
	if s.name != "" {
		err = errors.Join(err, os.Remove(s.name))
		s.name = "" // it may be another's by now
	}
	return err
}

// spill writes head and the rest of r into a file. The cause is set if the fault is not the reader's; if it
// is the disk's and rescue is wanted, all gives the whole content once more, and is to be closed.
func spill(dir string, head []byte, r io.Reader, limit int64, rescue bool) (_ *Spill, all *rescued, _ idempotency.Cause, err error) {
	file, err := os.CreateTemp(dir, "onceway-spill-*")
	if err != nil {
		return nil, &rescued{Reader: io.MultiReader(bytes.NewReader(head), r)}, CauseSpillFailed, err
	}
	s := &Spill{ReaderAt: file, file: file}
	if os.Remove(file.Name()) != nil {
		s.name = file.Name()
	}
	defer func() {
		if err != nil && all == nil {
			s.Close()
		}
	}()

	sum := sha256.New()
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	for block, ended := head, false; ; {
		if s.Length += int64(len(block)); s.Length > limit {
			return nil, nil, CauseOversize, errOversize
		}
		sum.Write(block)
		if _, err := file.Write(block); err != nil && !rescue {
			return nil, nil, CauseSpillFailed, err
		} else if err != nil {
			written := io.NewSectionReader(file, 0, s.Length-int64(len(block)))
			// The block's buffer is another's as soon as this returns.
			again := io.MultiReader(written, closing{s}, bytes.NewReader(bytes.Clone(block)), r)
			return nil, &rescued{again, s}, CauseSpillFailed, err
		}
		if ended {
			break
		}
		var n int
		if n, ended, err = fill(r, buf[:]); err != nil {
			return nil, nil, "", err
		}
		block = buf[:n]
	}
	sum.Sum(s.Digest[:0])
	return s, nil, "", nil
}

// rescued is a content whose file could not be written to its end.
type rescued struct {
	io.Reader
	s *Spill // what of it was written; nil if nothing was
}

// Close gives back the file of a content that may not have been read to its end.
func (r *rescued) Close() {
	if r.s != nil {
		r.s.Close()
	}
}

// closing is an empty reader that closes a file on the way from what is before it to what is behind it: the
// disk is full, and what is behind may take its time.
type closing struct{ s *Spill }

func (c closing) Read([]byte) (int, error) {
	c.s.Close()
	return 0, io.EOF
}

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}
