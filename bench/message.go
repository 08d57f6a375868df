package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// head is what backend and load generator need to know of an HTTP/1.1 message. The slices point into
// the buffer that was parsed.
type head struct {
	start    []byte // request line or status line, without CRLF
	length   int    // of the content, in bytes; -1 if the message does not say
	key      []byte // Idempotency-Key
	cell     []byte // Bench-Cell, of a request
	state    []byte // Idempotency-State
	replayed []byte // Idempotent-Replayed
}

var errChunked = errors.New("message has a transfer coding: everything here is sent with Content-Length")

// parseHead reads the head at the beginning of b, and its size including the empty line. A size of 0
// says that the head is not whole yet. It does not validate what proxies validate: it trusts both of
// its peers to speak HTTP/1.1 (RFC 9112, section 2.1), and refuses what it would misread.
func parseHead(b []byte) (h head, size int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return head{}, 0, nil
	}
	h.length = -1
	line, rest := cutLine(b[:end])
	h.start = line
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return head{}, 0, fmt.Errorf("header line without a colon: %q", line)
		}
		if err := h.field(name, value); err != nil {
			return head{}, 0, err
		}
	}
	return h, end + 4, nil
}

// field takes note of one header field. Lengths are compared first, because most fields are of no
// interest.
func (h *head) field(name, value []byte) error {
	switch {
	case is(name, "content-length"):
		n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
		if err != nil || n < 0 || h.length >= 0 {
			return fmt.Errorf("bad or repeated Content-Length: %q", value)
		}
		h.length = n
	case is(name, "transfer-encoding"):
		return errChunked
	case is(name, "idempotency-key"):
		h.key = bytes.TrimSpace(value)
	case is(name, "bench-cell"):
		h.cell = bytes.TrimSpace(value)
	case is(name, "idempotency-state"):
		h.state = bytes.TrimSpace(value)
	case is(name, "idempotent-replayed"):
		h.replayed = bytes.TrimSpace(value)
	}
	return nil
}

// status returns the status code of a status line, or 0.
func (h *head) status() int {
	if len(h.start) < 12 || !bytes.HasPrefix(h.start, []byte("HTTP/1.1 ")) {
		return 0
	}
	n, err := strconv.Atoi(string(h.start[9:12]))
	if err != nil {
		return 0
	}
	return n
}

func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\r\n"))
	return line, rest
}

func is(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// maxMessage bounds what a reader buffers, in bytes: nothing in this benchmark is larger.
const maxMessage = 512 << 10

// reader reads HTTP/1.1 messages from one connection, with one system call for each in the usual case.
type reader struct {
	src      io.Reader
	buf      []byte
	from, to int // unread bytes
}

func newReader(src io.Reader) *reader { return &reader{src: src, buf: make([]byte, 4<<10)} }

// next returns the next message. Both results are valid until the following call. io.EOF means that
// the peer closed the connection between two messages.
func (r *reader) next() (head, []byte, error) {
	for {
		h, size, err := parseHead(r.buf[r.from:r.to])
		if err != nil {
			return head{}, nil, err
		}
		if whole := size + max(h.length, 0); size > 0 && r.to-r.from >= whole {
			body := r.buf[r.from+size : r.from+whole]
			if r.from += whole; r.from == r.to {
				r.from, r.to = 0, 0
			}
			return h, body, nil
		}
		if err := r.more(); err != nil {
			return head{}, nil, err
		}
	}
}

func (r *reader) more() error {
	if r.from > 0 {
		r.to = copy(r.buf, r.buf[r.from:r.to])
		r.from = 0
	}
	if r.to == len(r.buf) {
		if len(r.buf) >= maxMessage {
			return errors.New("message is larger than 512 KiB")
		}
		r.buf = append(r.buf, make([]byte, len(r.buf))...)
	}
	n, err := r.src.Read(r.buf[r.to:])
	r.to += n
	switch {
	case n > 0:
		return nil
	case err == io.EOF && r.to > 0:
		return io.ErrUnexpectedEOF
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}
