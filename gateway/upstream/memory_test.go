package upstream

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// purse is a Memory with a limit.
type purse struct {
	limit int64
	used  atomic.Int64
	peak  atomic.Int64
}

func (p *purse) Take(n int64) bool {
	if p.used.Add(n) > p.limit {
		p.used.Add(-n)
		return false
	}
	p.Overdraw(0)
	return true
}

func (p *purse) Overdraw(n int64) {
	if now := p.used.Add(n); now > p.peak.Load() {
		p.peak.Store(now)
	}
}

func (p *purse) Give(n int64) { p.used.Add(-n) }

// What there is no memory for goes into a file, and what there is no file for goes over the budget: in no
// case is a whole answer lost. When it is discarded everything has been given back.
func TestAnswersBeyondTheBudget(t *testing.T) {
	for name, framing := range map[string]func(n int) string{
		"length": func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n, content(n)) },
		"chunked": func(n int) string {
			return fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, content(n))
		},
	} {
		for _, tt := range []struct {
			n, limit  int
			dir, want string
		}{
			{100_000, 1 << 20, "", "memory"},
			{100_000, 50_000, "", "file"},
			{100_000, 0, "", "file"},
			{1, 0, "", "file"},
			{0, 0, "", "memory"},
			{100_000, 50_000, "/nonexistent", "overdraft"},
			{100_000, 0, "/nonexistent", "overdraft"},
			{300_000, 1 << 20, "/nonexistent", "nothing"}, // longer than MaxBody: no budget helps
			{300_000, 0, "/nonexistent", "nothing"},
		} {
			t.Run(fmt.Sprint(name, tt), func(t *testing.T) {
				b := raw(t, "HTTP/1.1 200 OK\r\n"+framing(tt.n), false)
				memory := &purse{limit: int64(tt.limit)}
				r := post("op", nil)
				r.MaxBody, r.MaxSpill, r.Memory = 200_000, 400_000, memory
				dir := tt.dir
				if dir == "" {
					dir = t.TempDir()
				}
				out := send(t, newUpstream(t, Options{SpillDir: dir}, b.URL()), r)
				a, ok := out.(Answered)
				if tt.want == "nothing" {
					wantUnknown(t, out, CauseSpillFailed)
				} else if !ok {
					t.Fatal(describe(out))
				}
				got, body := "nothing", a.Body
				switch {
				case a.Spill != nil:
					got = "file"
					body, _ = io.ReadAll(a.Spill.Reader())
				case ok && memory.peak.Load() > memory.limit:
					got = "overdraft"
				case ok:
					got = "memory"
				}
				if got != tt.want || ok && !bytes.Equal(body, content(tt.n)) {
					t.Errorf("%d bytes came out of %s, want %s", len(body), got, tt.want)
				}
				if held := memory.used.Load(); (got == "memory" || got == "overdraft") != (held > 0) && tt.n > 0 {
					t.Errorf("an answer in %s holds %d bytes", got, held)
				}
				a.Discard()
				if held := memory.used.Load(); held != 0 {
					t.Errorf("%d bytes are not given back", held)
				}
			})
		}
	}
}

// limitFiles makes writes fail as they do on a full disk, after a part of them, until the test ends.
func limitFiles(t *testing.T, size uint64) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	full := before
	full.Cur = size
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		t.Skip("cannot limit the size of files: ", err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before) })
}

// A disk that fills up in the middle of an answer must not cost it.
func TestDiskFullBeyondTheBudget(t *testing.T) {
	limitFiles(t, 60_000)
	b := raw(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 150_000, content(150_000)), false)
	memory := &purse{}
	r := post("op", nil)
	r.MaxBody, r.MaxSpill, r.Memory = 200_000, 400_000, memory
	out := send(t, newUpstream(t, Options{SpillDir: t.TempDir()}, b.URL()), r)
	wantAnswer(t, out, string(content(150_000)))
	a := out.(Answered)
	a.Discard()
	if memory.peak.Load() == 0 || memory.used.Load() != 0 {
		t.Errorf("at most %d bytes were reserved, %d still are", memory.peak.Load(), memory.used.Load())
	}
}

// An answer that neither the disk nor the memory of its route takes leaves no file behind: one without a name
// would hold its part of a full disk until the next collection of garbage.
func TestDiskFullAndTooLong(t *testing.T) {
	limitFiles(t, 60_000)
	// Its length is not declared, so that it turns out only after the file failed.
	whole := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", 300_000, content(300_000))
	b := raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+whole, false)
	memory := &purse{}
	r := post("op", nil)
	r.MaxBody, r.MaxSpill, r.Memory = 40_000, 400_000, memory
	dir := t.TempDir()
	wantUnknown(t, send(t, newUpstream(t, Options{SpillDir: dir}, b.URL()), r), CauseSpillFailed)
	if held := memory.used.Load(); held != 0 {
		t.Errorf("%d bytes are not given back", held)
	}
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(open) == 0 {
		t.Skip("the system does not show open files")
	}
	for _, fd := range open {
		if name, _ := os.Readlink(fd); strings.HasPrefix(name, dir) {
			t.Errorf("%s is still open", name)
		}
	}
}
