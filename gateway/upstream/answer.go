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
	errStatus   = errors.New("the status of the response is not a number of three digits, from 100 on")
	errLengths  = errors.New("the content is not as long as the head says")
)

// receive reads the content of a response, whole. Otherwise it returns a cause or an error: a fault of
// the message has a cause of its own, a fault of the connection is the error that it gave.
func receive(resp *http.Response, r *Request, dir string) (Outcome, idempotency.Cause, error) {
	if !validStatus(resp.Status) {
		return nil, CauseMalformed, errStatus
	}
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
	if none && resp.ProtoMajor >= 2 && resp.ContentLength > 0 {
		if cause, err := endsAtOnce(resp.Body); err != nil {
			return nil, cause, err
		}
	}
	if none && (resp.ProtoMajor < 2 || resp.ContentLength > 0) {
		a.Digest = emptyDigest
		return a, "", nil
	}
	if cause, err := a.keep(resp, r, dir, limit); err != nil {
		return nil, cause, err
	}
	if none && a.Length > 0 || !none && !lengthsAgree(resp.Header["Content-Length"], a.Length) {
		a.Discard()
		return nil, CauseMalformed, errLengths
	}
	if len(resp.Trailer) > 0 {
		a.Trailer = resp.Trailer
	}
	return a, "", nil
}

// endsAtOnce returns a cause or an error unless there is nothing in the content of an answer over HTTP/2 whose status allows
// none. Where its head names a length, as that of a 304 may (RFC 9110, section 8.6), net/http misses that content.
func endsAtOnce(content io.Reader) (idempotency.Cause, error) {
	switch n, err := io.ReadFull(content, make([]byte, 1)); {
	case n > 0:
		return CauseMalformed, errLengths
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return "", nil
	default:
		return "", err
	}
}

// validStatus reports whether a status line, from its code on, begins with one (RFC 9110, section 15). net/http also
// takes leading zeros, a sign and, over HTTP/2, any number of digits.
func validStatus(line string) bool {
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	return len(line) >= 3 && line[0] != '0' && digit(line[0]) && digit(line[1]) && digit(line[2]) && (len(line) == 3 || line[3] == ' ')
}

// keep reads the content into memory, or into a file if it is longer than MaxBody or if there is no
// memory for it. When there is no file for it either, it goes over the budget: a whole answer must not be
// lost for a want of ours.
func (a *Answered) keep(resp *http.Response, r *Request, dir string, limit int64) (idempotency.Cause, error) {
	room := newShare(r.Memory)
	head, whole, err := readUpTo(resp.Body, resp.ContentLength, r.MaxBody, room)
	if err == nil && !whole {
		var cause idempotency.Cause
		var rest *rescued
		if a.Spill, rest, cause, err = spill(dir, head, resp.Body, limit, room.short); err == nil {
			room.keep(0)
			a.Length, a.Digest = a.Spill.Length, a.Spill.Digest
			return "", nil
		}
		if rest != nil {
			defer rest.Close()
		}
		room.keep(0)
		if cause != CauseSpillFailed || !room.short {
			return cause, err
		}
		room.overdue = true
		spillErr := err
		if head, whole, err = readUpTo(rest, resp.ContentLength, r.MaxBody, room); err == nil && !whole {
			room.keep(0)
			return cause, spillErr // longer than MaxBody: it has to be in a file
		}
	}
	if err != nil {
		room.keep(0)
		return "", err
	}
	room.keep(int64(cap(head)))
	a.Body, a.Length, a.Digest, a.room = head, int64(len(head)), sha256.Sum256(head), room
	return "", nil
}

// Discard gives back what the content takes of memory and disk.
func (a *Answered) Discard() {
	if a.Spill != nil {
		a.Spill.Close()
	}
	if a.room != nil {
		a.room.keep(0)
	}
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

// readUpTo reads r to its end if that comes within limit bytes and there is room (whole), else something of
// it, or nothing if that is known from the declared length. A declared length of -1 is unknown.
func readUpTo(r io.Reader, declared, limit int64, room *share) (head []byte, whole bool, err error) {
	if declared > limit || declared >= 0 && !room.take(declared) {
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
	if head = bytes.Clone(first[:n]); !room.take(int64(cap(head))) {
		return head, false, nil
	}
	for !whole && int64(len(head)) <= limit {
		grown := cap(head)
		if !room.take(int64(len(head))) {
			return head, false, nil
		}
		head = slices.Grow(head, len(head))
		if more := int64(cap(head) - grown - len(head)); more > 0 && !room.take(more) {
			return head, false, nil
		}
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
