package upstream

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/internal/nemesis"
)

// Each way in which an HTTP/1.1 response may end, and whether that end is proven.
func TestFraming(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name   string
		method string
		answer string
		close  bool              // the backend closes after the answer
		body   string            // of the answer, if cause is empty
		cause  idempotency.Cause // of Unknown
	}{
		{"length", "", ok + "Content-Length: 5\r\n\r\nhello", false, "hello", ""},
		{"length and close", "", ok + "Content-Length: 5\r\nConnection: close\r\n\r\nhello", true, "hello", ""},
		{"length zero", "", ok + "Content-Length: 0\r\n\r\n", false, "", ""},
		{"the same length twice", "", ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", false, "hello", ""},
		{"more than the length", "", ok + "Content-Length: 5\r\n\r\nhello, world", false, "hello", ""},
		{"chunked", "", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", false, "hello", ""},
		{"chunked and length", "", ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false, "hello", ""},
		{"trailers longer than a buffer", "", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: " + strings.Repeat("1", 5000) + "\r\n" + strings.Repeat("X-Y: z\r\n", 50_000) + "\r\n", false, "hello", ""},
		{"trailers", "", ok + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", false, "hello", ""},
		{"204", "", "HTTP/1.1 204 No Content\r\n\r\n", false, "", ""},
		{"304", "", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, "", ""},
		{"HEAD", "HEAD", ok + "Content-Length: 5\r\n\r\n", false, "", ""},
		{"HEAD without length", "HEAD", ok + "\r\n", false, "", ""},
		{"HTTP/1.0 with length", "", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", true, "hello", ""},
		{"HTTP/1.0 kept alive", "", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", false, "hello", ""},
		{"after a few 1xx", "", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 9) + ok + "Content-Length: 5\r\n\r\nhello", false, "hello", ""},
		{"307 to itself", "", "HTTP/1.1 307 Temporary Redirect\r\nLocation: /orders\r\nContent-Length: 0\r\n\r\n", false, "", ""},
		{"421", "", "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n", false, "", ""},
		{"408", "", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", true, "", ""},
		{"503", "", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy", false, "busy", ""},

		{"nothing", "", "", true, "", CauseEOF},
		{"half a head", "", ok + "Content-Length: 5\r\n", true, "", CauseEOF},
		{"half a field", "", ok + "Content-Le", true, "", CauseMalformed},
		{"close-delimited", "", ok + "\r\nhello", true, "", CauseUnprovenEnd},
		{"close-delimited HTTP/1.0", "", "HTTP/1.0 200 OK\r\n\r\nhello", true, "", CauseUnprovenEnd},
		{"close-delimited that calls itself HTTP/2", "", "HTTP/2.0 200 OK\r\n\r\n{\"charged\": 1", true, "", CauseMalformed},
		{"another major version", "", "HTTP/3.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, "", CauseMalformed},
		{"chunked HTTP/1.0", "", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true, "", CauseUnprovenEnd},
		{"205 without length", "", "HTTP/1.1 205 Reset Content\r\n\r\n", true, "", CauseUnprovenEnd},
		{"less than the length", "", ok + "Content-Length: 6\r\n\r\nhello", true, "", CauseTruncated},
		{"chunked, cut in data", "", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", true, "", CauseTruncated},
		{"chunked, cut before the last chunk", "", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true, "", CauseTruncated},
		{"chunked, cut in the last chunk", "", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", true, "", ""},
		{"chunked, cut in trailers", "", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n", true, "", ""},
		{"trailers without end", "", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + strings.Repeat("X-Filler: "+strings.Repeat("x", 500)+"\r\n", 3000), false, "", CauseMalformed},
		{"trailer without colon", "", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum\r\n\r\n", false, "", CauseMalformed},
		{"chunk size is no number", "", ok + "Transfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n0\r\n\r\n", false, "", CauseMalformed},
		{"chunk longer than its size", "", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", false, "", CauseMalformed},
		{"two lengths", "", ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", false, "", CauseMalformed},
		{"a list of lengths", "", ok + "Content-Length: 5, 5\r\n\r\nhello", false, "", CauseMalformed},
		{"negative length", "", ok + "Content-Length: -5\r\n\r\nhello", false, "", CauseMalformed},
		{"signed length", "", ok + "Content-Length: +5\r\n\r\nhello", false, "", CauseMalformed},
		{"length is no number", "", ok + "Content-Length: five\r\n\r\nhello", false, "", CauseMalformed},
		{"other coding", "", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", false, "", CauseMalformed},
		{"garbage", "", "hello\r\n\r\n", false, "", CauseMalformed},
		{"HTTP/2 by surprise", "", "\x00\x00\x00\x04\x00\x00\x00\x00\x00\r\n\r\n", false, "", CauseMalformed},
		{"status 000", "", "HTTP/1.1 000 Zero\r\nContent-Length: 5\r\n\r\nhello", false, "", CauseMalformed},
		{"status 099 before another", "", "HTTP/1.1 099 Low\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", false, "", CauseMalformed},
		{"status with a sign", "", "HTTP/1.1 +20 Signed\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", false, "", CauseMalformed},
		{"no status", "", "HTTP/1.1 \r\n\r\n", false, "", CauseMalformed},
		{"field without colon", "", ok + "Content-Length 5\r\n\r\nhello", false, "", CauseMalformed},
		{"101", "", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", false, "", CauseSwitched},
		{"101 without upgrade", "", "HTTP/1.1 101 Switching Protocols\r\n\r\n", false, "", CauseSwitched},
		{"1xx without end", "", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </"+strings.Repeat("x", 500)+">\r\n\r\n", 3000), false, "", CauseMalformed},
		{"head without end", "", ok + strings.Repeat("X-Filler: "+strings.Repeat("x", 500)+"\r\n", 3000), false, "", CauseMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := raw(t, tt.answer, tt.close)
			u := newUpstream(t, Options{}, b.URL())
			r := post("op", []byte("body"))
			if tt.method != "" {
				r.Method = tt.method
			}
			out := send(t, u, r)
			switch {
			case tt.cause != "":
				wantUnknown(t, out, tt.cause)
			case strings.HasPrefix(tt.name, "chunked, cut"):
				wantUnknown(t, out)
			default:
				wantAnswer(t, out, tt.body)
				if a := out.(Answered); a.Length != int64(len(tt.body)) || a.Digest != sha256.Sum256([]byte(tt.body)) {
					t.Errorf("length %d, digest %x", a.Length, a.Digest)
				}
			}
			if got := b.executed("op"); got != 1 {
				t.Errorf("executed %d times", got)
			}
		})
	}
}

func TestTrailersAreKept(t *testing.T) {
	b := raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", false)
	a := send(t, newUpstream(t, Options{}, b.URL()), post("op", nil)).(Answered)
	if a.Trailer.Get("X-Sum") != "1" || len(a.Header) != 0 {
		t.Errorf("trailer %v, header %v", a.Trailer, a.Header)
	}
	long := strings.Repeat("1", 500_000)
	b = raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Late\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: "+long+"\r\nX-Other: 2\r\n\r\n", false)
	u := newUpstream(t, Options{}, b.URL())
	for range 2 { // on one connection
		a := send(t, u, post("op", nil)).(Answered)
		if _, announced := a.Trailer["X-Late"]; a.Trailer.Get("X-Sum") != long || a.Trailer.Get("X-Other") != "2" || !announced {
			t.Errorf("%d trailers, X-Sum of %d bytes", len(a.Trailer), len(a.Trailer.Get("X-Sum")))
		}
		settle(u)
	}
	if b.connections() != 1 {
		t.Errorf("%d connections", b.connections())
	}
}

// net/http takes more for a status over HTTP/2 than it does over HTTP/1.1.
func TestStatusOverHTTP2(t *testing.T) {
	for status, valid := range map[string]bool{
		"200": true, "599": true, "999": true, "": false, "0": false, "99": false, "099": false, "+20": false,
		"+200": false, "0200": false, "1000": false, "99999": false, "-200": false, "2x0": false,
	} {
		b := newBackend(t, "h2c", func(e *event) {
			if e.moment == executed {
				e.answer.(answer2).head(true, ":status", status)
			}
		})
		out := send(t, newUpstream(t, Options{}, b.URL()), post("op", nil))
		_, answered := out.(Answered)
		_, unknown := out.(Unknown)
		if answered != valid || unknown == valid {
			t.Errorf("%q: %s", status, describe(out))
		}
	}
}

// An answer that is cut at any byte is no answer, over each protocol.
func TestCutAtEveryByte(t *testing.T) {
	answers := map[string]string{
		"http length":  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Y: z\r\n\r\nhello",
		"http chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n",
		"http 204":     "HTTP/1.1 204 No Content\r\nX-Y: z\r\n\r\n",
		"https1":       "",
		"h2c":          "",
		"h2":           "",
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			protocol, _, _ := strings.Cut(name, " ")
			b := newBackend(t, protocol, func(e *event) {
				switch {
				case e.moment != executed:
				case answer != "":
					io.WriteString(e, answer)
				default:
					e.answer.whole("hello")
				}
			})
			whole := cutAnswer(t, b, "whole", nemesis.Flow{})
			if _, ok := whole.out.(Answered); !ok {
				t.Fatal(describe(whole.out))
			}
			if answer != "" && whole.bytes != int64(len(answer)) {
				t.Fatalf("%d bytes came, want %d", whole.bytes, len(answer))
			}
			for _, fault := range []nemesis.Fault{nemesis.CutFIN, nemesis.CutRST} {
				for n := int64(0); n < whole.bytes; n++ {
					op := fmt.Sprint(fault, n)
					got := cutAnswer(t, b, op, nemesis.Flow{After: n, Fault: fault})
					executions := b.executed(op)
					switch out := got.out.(type) {
					case Answered:
						t.Errorf("%v after %d of %d: answered", fault, n, whole.bytes)
					case NotSent:
						if executions != 0 {
							t.Errorf("%v after %d: executed, and %s", fault, n, describe(out))
						}
					case Unknown:
						if executions > 1 {
							t.Errorf("%v after %d: executed %d times", fault, n, executions)
						}
					}
					if protocol == "https1" || protocol == "h2" {
						if n < whole.bytes-90 {
							n += 40 // handshakes are slow
						}
					}
				}
			}
		})
	}
}

type cut struct {
	out   Outcome
	bytes int64
}

func cutAnswer(t *testing.T, b *backend, op string, f nemesis.Flow) cut {
	r, err := nemesis.Listen(b.listener.Addr().String(), nemesis.Always(nemesis.Plan{Down: f}))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	u := newUpstream(t, Options{}, b.url(r.Addr()))
	defer u.Close()
	out := send(t, u, post(op, []byte("body")))
	if r.Accepted() != 1 {
		t.Errorf("%s: %d connections", op, r.Accepted())
	}
	c := r.Conn(0)
	r.Close()
	return cut{out, c.Down.Bytes()}
}

// A backend may answer before it has read the request, and may then close: its answer counts.
func TestEarlyAnswer(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			b := newBackend(t, protocol, func(e *event) {
				if e.op == "op" && e.moment == headRead {
					e.answer.whole("enough")
					if a, ok := e.answer.(answer2); ok {
						a.WriteRSTStream(a.stream, 0) // NO_ERROR: RFC 9113, section 8.1
					} else {
						<-t.Context().Done() // reads no further
						e.stop = true
					}
				} else {
					answering(e)
				}
			})
			u := newUpstream(t, Options{}, b.URL())
			wantAnswer(t, send(t, u, post("op", make([]byte, 16<<20))), "enough")
			wantAnswer(t, send(t, u, post("next", nil)), "done next")
			if got := b.executed("op"); got != 0 {
				t.Errorf("executed %d times", got)
			}
		})
	}
}

func TestEarlyAnswerAndClose(t *testing.T) {
	for _, rst := range []bool{false, true} {
		b := newBackend(t, "http", func(e *event) {
			e.answer.whole("enough")
			e.cut(rst)
			e.stop = true
		})
		u := newUpstream(t, Options{}, b.URL())
		for range 20 {
			// With unread bytes a close is a reset as well, and that may overtake the answer.
			if out, ok := send(t, u, post("op", make([]byte, 1<<20))).(NotSent); ok {
				t.Fatal(describe(out))
			}
		}
	}
}

// What a backend sends after its answer is never the answer to the next request: together with the
// first answer, while the connection is idle, or after it was found fit.
func TestTwoAnswersOnOneConnection(t *testing.T) {
	for _, protocol := range []string{"http", "https1"} {
		for _, when := range []string{"together", "in two records", "idle", "checked"} {
			if protocol == "http" && when == "in two records" {
				continue // there are none
			}
			t.Run(protocol+"/"+when, func(t *testing.T) { twoAnswers(t, protocol, when) })
		}
	}
}

func twoAnswers(t *testing.T, protocol, when string) {
	const forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
	b := newBackend(t, protocol, func(e *event) {
		switch {
		case e.moment != executed:
		case e.op == "first" && when == "together":
			io.WriteString(e, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ndone first"+forged)
		case e.op == "first" && when == "in two records":
			e.together(func() {
				io.WriteString(e, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ndone first")
				io.WriteString(e, forged)
			})
		default:
			answering(e)
		}
	})
	for range 50 {
		u := newUpstream(t, Options{}, b.URL())
		wantAnswer(t, send(t, u, post("first", nil)), "done first")
		r := post("second", nil)
		switch when {
		case "idle":
			settle(u)
			io.WriteString(b.last(), forged)
		case "checked":
			settle(u)
			once := false
			r.Ready = func() error {
				if !once {
					once = true
					io.WriteString(b.last(), forged)
				}
				return nil
			}
		}
		if a, ok := send(t, u, r).(Answered); ok && string(a.Body) != "done second" {
			t.Fatalf("the second request was answered %q", a.Body)
		}
		u.Close()
	}
}

// A backend that says that it will close is not given another request, though it has not closed yet.
func TestConnectionClose(t *testing.T) {
	for _, head := range []string{
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\ndone",
		"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\ndone",
	} {
		b := newBackend(t, "http", func(e *event) {
			if e.moment == executed {
				io.WriteString(e, head)
			}
		})
		u := newUpstream(t, Options{}, b.URL())
		wantAnswer(t, send(t, u, post("first", nil)), "done")
		wantAnswer(t, send(t, u, post("second", nil)), "done")
		if got := b.connections(); got != 2 {
			t.Errorf("%d connections", got)
		}
	}
}

func TestLimits(t *testing.T) {
	const maxBody, maxSpill = 40_000, 100_000
	answers := map[string]func(n int) string{
		"length": func(n int) string {
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, content(n))
		},
		"chunked": func(n int) string {
			s := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
			for part := range slices.Chunk(content(n), 7000) {
				s += fmt.Sprintf("%x\r\n%s\r\n", len(part), part)
			}
			return s + "0\r\n\r\n"
		},
	}
	for name, answer := range answers {
		for _, n := range []int{0, 1, 16<<10 - 1, 16 << 10, 16<<10 + 1, maxBody - 1, maxBody, maxBody + 1, maxSpill, maxSpill + 1} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				dir := t.TempDir()
				b := raw(t, answer(n), false)
				u := newUpstream(t, Options{SpillDir: dir}, b.URL())
				r := post("op", nil)
				r.MaxBody, r.MaxSpill = maxBody, maxSpill
				out := send(t, u, r)
				if n > maxSpill {
					wantUnknown(t, out, CauseOversize)
				} else {
					a, ok := out.(Answered)
					if !ok {
						t.Fatal(describe(out))
					}
					body := a.Body
					if (a.Spill != nil) != (n > maxBody) {
						t.Fatalf("spilled: %v", a.Spill != nil)
					}
					if a.Spill != nil {
						defer a.Spill.Close()
						body, _ = io.ReadAll(a.Spill.Reader())
						var at [5]byte
						if _, err := a.Spill.ReadAt(at[:], 100); err != nil || !bytes.Equal(at[:], content(n)[100:105]) {
							t.Errorf("read at 100: %q, %v", at, err)
						}
					}
					if !bytes.Equal(body, content(n)) || a.Length != int64(n) || a.Digest != sha256.Sum256(content(n)) {
						t.Errorf("%d bytes came, length %d", len(body), a.Length)
					}
				}
				if left, _ := os.ReadDir(dir); len(left) > 0 {
					t.Errorf("%d files are left", len(left))
				}
			})
		}
	}
}

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + i%23)
	}
	return b
}

func TestNoRoomToSpill(t *testing.T) {
	b := raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false)
	u := newUpstream(t, Options{SpillDir: "/nonexistent"}, b.URL())
	r := post("op", nil)
	r.MaxBody = 4
	wantUnknown(t, send(t, u, r), CauseSpillFailed)
}

// HTTP/2 frames a response without its Content-Length, so net/http does not compare all of them.
func TestLengthsOnHTTP2(t *testing.T) {
	tests := map[string]struct {
		lengths []string
		whole   bool
	}{
		"none":    {nil, true},
		"right":   {[]string{"5"}, true},
		"longer":  {[]string{"6"}, false},
		"shorter": {[]string{"4"}, false},
		"two":     {[]string{"5", "6"}, false},
		"no one":  {[]string{"five"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t, "h2c", func(e *event) {
				if e.moment != executed {
					return
				}
				fields := []string{":status", "200"}
				for _, l := range tt.lengths {
					fields = append(fields, "content-length", l)
				}
				a := e.answer.(answer2)
				for range 3 {
					a.head(false, ":status", "103")
				}
				a.head(false, fields...)
				a.WriteData(a.stream, true, []byte("hello"))
			})
			out := send(t, newUpstream(t, Options{}, b.URL()), post("op", nil))
			if tt.whole {
				wantAnswer(t, out, "hello")
			} else {
				wantUnknown(t, out)
			}
		})
	}
}

func TestContentOfAHeadResponseOnHTTP2(t *testing.T) {
	b := newBackend(t, "h2c", func(e *event) {
		if e.moment == executed {
			e.answer.(answer2).head(true, ":status", "200", "content-length", "5")
		}
	})
	u := newUpstream(t, Options{}, b.URL())
	r := post("op", nil)
	r.Method = http.MethodHead
	wantAnswer(t, send(t, u, r), "")
	wantUnknown(t, send(t, u, post("op", nil)), CauseTruncated) // END_STREAM came five bytes early
}

// A 304 says how long the content is that it does not have, over HTTP/2 as well (RFC 9110, section 8.6).
func TestLengthsOfWhatHasNoContent(t *testing.T) {
	for _, c := range []struct {
		status, content string
		whole           bool
	}{{"304", "", true}, {"204", "", true}, {"304", "hello", false}, {"304", "h", false}, {"200", "", false}} {
		b := newBackend(t, "h2c", func(e *event) {
			if e.moment != executed {
				return
			}
			a := e.answer.(answer2)
			a.head(c.content == "", ":status", c.status, "content-length", strconv.Itoa(max(1, len(c.content))))
			if c.content != "" {
				a.WriteData(a.stream, true, []byte(c.content))
			}
		})
		out := send(t, newUpstream(t, Options{}, b.URL()), post("op", nil))
		if a, ok := out.(Answered); ok != c.whole || ok && (a.Length != 0 || a.Digest != emptyDigest) {
			t.Errorf("%s %q: %s", c.status, c.content, describe(out))
		}
	}
}
