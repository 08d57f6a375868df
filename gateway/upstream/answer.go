package upstream

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/onceway/onceway/idempotency"
)

var (
	errSwitched = errors.New("the backend switched protocols, which nobody had asked for")
	errUnproven = errors.New("the content ends with the connection, so that its end is not proven")
	errOversize = errors.New("the content is longer than the limit")
	errLengths  = errors.New("the content is not as long as the head says")
)

// receive reads the content of a response, whole. Otherwise it returns a cause or an error: a fault of
// the message has a cause of its own, a fault of the connection is the error that it gave.
func receive(resp *http.Response, r *Request, dir string) (Outcome, idempotency.Cause, error) {
	if resp.StatusCode < 200 {
		return nil, CauseSwitched, errSwitched
	}
	none := r.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
	// RFC 9112, section 6.3: chunked or Content-Length prove the end. On HTTP/2, END_STREAM does.
	if !none && resp.ProtoMajor < 2 && resp.ContentLength < 0 && !slices.Contains(resp.TransferEncoding, "chunked") {
		return nil, CauseUnprovenEnd, errUnproven
	}
	limit := max(r.MaxBody, r.MaxSpill)
	if !none && resp.ContentLength > limit {
		return nil, CauseOversize, errOversize
	}
	a := Answered{Status: resp.StatusCode, Header: resp.Header}
	if none && resp.ProtoMajor < 2 {
		a.Digest = emptyDigest
		return a, "", nil
	}
	head, whole, err := readUpTo(resp.Body, resp.ContentLength, r.MaxBody)
	if err != nil {
		return nil, "", err
	}
	if whole {
		a.Body, a.Length, a.Digest = head, int64(len(head)), sha256.Sum256(head)
	} else {
		s, cause, err := spill(dir, head, resp.Body, limit)
		if err != nil {
			return nil, cause, err
		}
		a.Spill, a.Length, a.Digest = s, s.Length, s.Digest
	}
	if none && a.Length > 0 || !none && !lengthsAgree(resp.Header["Content-Length"], a.Length) {
		if a.Spill != nil {
			a.Spill.Close()
		}
		return nil, CauseMalformed, errLengths
	}
	if len(resp.Trailer) > 0 {
		a.Trailer = resp.Trailer
	}
	return a, "", nil
}

var emptyDigest = sha256.Sum256(nil)

// lengthsAgree checks what net/http does not check on HTTP/2: that every Content-Length is the length
// of the content (RFC 9113, section 8.1.1).
func lengthsAgree(fields []string, length int64) bool {
	for _, f := range fields {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil || n != length {
			return false
		}
	}
	return true
}

const chunk = 16 << 10

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// readUpTo reads r to its end if that comes within limit bytes (whole), else something of it, or
// nothing if the declared length already exceeds the limit. A declared length of -1 is unknown.
func readUpTo(r io.Reader, declared, limit int64) (head []byte, whole bool, err error) {
	if declared > limit {
		return nil, false, nil
	}
	if declared >= 0 {
		head = make([]byte, declared)
		n, whole, err := fill(r, head)
		if err != nil || whole {
			return head[:n], whole, err
		}
		// Some readers tell their end only when asked for more.
		more := chunks.Get().(*[chunk]byte)
		defer chunks.Put(more)
		switch n, whole, err := fill(r, more[:1]); {
		case err != nil:
			return nil, false, err
		case n > 0 || !whole:
			return nil, false, errLengths
		}
		return head, true, nil
	}
	first := chunks.Get().(*[chunk]byte)
	defer chunks.Put(first)
	n, whole, err := fill(r, first[:])
	if err != nil {
		return nil, false, err
	}
	head = bytes.Clone(first[:n])
	for !whole && int64(len(head)) <= limit {
		head = slices.Grow(head, len(head))
		n, whole, err = fill(r, head[len(head):cap(head)])
		if err != nil {
			return nil, false, err
		}
		head = head[:len(head)+n]
	}
	return head, whole && int64(len(head)) <= limit, nil
}

// fill reads until b is full or r has ended.
func fill(r io.Reader, b []byte) (n int, ended bool, err error) {
	for n < len(b) {
		m, err := r.Read(b[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}
