package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	linesWait = 100 * time.Millisecond // the longest that a line waits for company
	linesFull = 32 << 10               // bytes that are written without waiting
	linesMost = 4 << 20                // bytes that may wait for a slow reader
	lastLines = time.Second            // what the reader has for the last of them
)

// lineWriter gathers lines and writes many of them at once, so that no request pays a system call for
// its line in the log. Nor does any wait for a slow reader: when too much is waiting, lines are left
// out, and their number is written instead. What is waiting is lost if the process is killed.
type lineWriter struct {
	out  io.Writer
	wake chan struct{} // there is something to write
	rush chan struct{} // it must not wait
	quit chan struct{}
	done chan struct{}
	once sync.Once

	mu      sync.Mutex
	waiting []byte
	missing int
}

// newLineWriter starts the goroutine that writes. It must be stopped.
func newLineWriter(out io.Writer) *lineWriter {
	w := &lineWriter{
		out:  out,
		wake: make(chan struct{}, 1), rush: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	go w.run()
	return w
}

// Write takes one line. It never blocks on the reader and never fails.
func (w *lineWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	if len(w.waiting)+len(line) > linesMost {
		w.missing++
	} else {
		w.waiting = append(w.waiting, line...)
	}
	full := len(w.waiting) >= linesFull
	w.mu.Unlock()
	notify(w.wake)
	if full {
		w.hurry()
	}
	return len(line), nil
}

// hurry makes what is waiting be written now.
func (w *lineWriter) hurry() { notify(w.rush) }

// stop writes what is waiting, and returns when it is written, or when that takes too long: a reader that has
// stopped reading must not keep the process. It is safe twice.
func (w *lineWriter) stop(within time.Duration) {
	w.once.Do(func() { close(w.quit) })
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	}
}

func (w *lineWriter) run() {
	defer close(w.done)
	var spare []byte // the two buffers take turns
	timer := time.NewTimer(linesWait)
	for {
		select {
		case <-w.wake:
		case <-w.quit:
			w.flush(spare)
			return
		}
		timer.Reset(linesWait)
		select {
		case <-timer.C:
		case <-w.rush:
		case <-w.quit:
		}
		spare = w.flush(spare)
	}
}

// flush writes what is waiting, and returns its buffer.
func (w *lineWriter) flush(spare []byte) []byte {
	w.mu.Lock()
	lines, missing := w.waiting, w.missing
	w.waiting, w.missing = spare, 0
	w.mu.Unlock()
	// A log that cannot be written has nobody to be told.
	if len(lines) > 0 {
		_, _ = w.out.Write(lines)
	}
	if missing > 0 {
		_, _ = fmt.Fprintf(w.out, `{"level":"ERROR","msg":"log lines left out","lines":%d}`+"\n", missing)
	}
	return lines[:0]
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
