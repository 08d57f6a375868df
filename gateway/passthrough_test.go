package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/onceway/onceway/internal/freeport"
)

// rawBackend answers with what it is told, when it is told, whatever has come of the request by then. Of each
// connection it reads one request.
type rawBackend struct {
	address string
	mu      sync.Mutex
	seen    []string // methods and paths
	read    strings.Builder
}

func serveRawly(t *testing.T, answer func(c net.Conn, r *http.Request)) *rawBackend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &rawBackend{address: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, b)))
				if err != nil {
					return
				}
				b.mu.Lock()
				b.seen = append(b.seen, r.Method+" "+r.URL.Path)
				b.mu.Unlock()
				answer(c, r)
			}()
		}
	}()
	return b
}

// answerWhole answers a request, whole as it is, with the same bytes.
func answerWhole(answer string) func(net.Conn, *http.Request) {
	return func(c net.Conn, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(c, answer)
	}
}

func (b *rawBackend) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read.Write(p)
}

// wire returns all that has been read, as it came.
func (b *rawBackend) wire() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read.String()
}

func (b *rawBackend) requests() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.seen, ", ")
}

func (r *rig) dial(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c, bufio.NewReader(c)
}

// framed is a client of HTTP/2 that says what it is told to.
type framed struct {
	*http2.Framer
	head    bytes.Buffer
	encoder *hpack.Encoder
}

func (r *rig) dialHTTP2(t *testing.T) *framed {
	t.Helper()
	c, in := r.dial(t)
	io.WriteString(c, http2.ClientPreface)
	f := &framed{Framer: http2.NewFramer(c, in)}
	f.encoder = hpack.NewEncoder(&f.head)
	f.WriteSettings()
	return f
}

func (f *framed) ask(stream uint32, end bool, method string, fields ...hpack.HeaderField) {
	f.say(stream, end, append([]hpack.HeaderField{
		{Name: ":method", Value: method}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/"}, {Name: ":authority", Value: "a"},
	}, fields...)...)
}

// say sends the fields of a head, or of a trailer section.
func (f *framed) say(stream uint32, end bool, fields ...hpack.HeaderField) {
	f.head.Reset()
	for _, field := range fields {
		f.encoder.WriteField(field)
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.head.Bytes(), EndHeaders: true, EndStream: end})
}

// answered returns the status of the next answer, "" if its stream is reset instead.
func (f *framed) answered(t *testing.T) string {
	t.Helper()
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		got, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch got := got.(type) {
		case *http2.MetaHeadersFrame:
			return got.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return ""
		}
	}
}

const allRequired = "caller: {none: {}}\nupstreams: {b: {targets: ['BACKEND']}}\nroutes:\n- {name: all, match: {path: '/**'}, upstream: b}\n"

// unfinishedBodies are the beginnings of bodies of 4096 bytes. What is there of the first is not passed on before
// the chunk has ended.
var unfinishedBodies = map[string]string{
	inAChunk: "Transfer-Encoding: chunked\r\n\r\n1000\r\nx",
	"chunks": "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
	"length": "Content-Length: 4096\r\n\r\nx",
}

const inAChunk = "in a chunk"

const smuggled = "POST /pay HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// Whatever a backend answers before it has the whole body, and whenever, the rest of the body is no request.
func TestABodyNeverBecomesARequest(t *testing.T) {
	for name, answer := range map[string]func(c net.Conn, r *http.Request){
		"at once": func(c net.Conn, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
			io.Copy(io.Discard, c)
		},
		"after a part": func(c net.Conn, r *http.Request) {
			io.ReadFull(r.Body, make([]byte, 1))
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
			io.Copy(io.Discard, c)
		},
		"in chunks": func(c net.Conn, r *http.Request) {
			io.ReadFull(r.Body, make([]byte, 1))
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n")
			io.Copy(io.Discard, c)
		},
		"without content": func(c net.Conn, r *http.Request) {
			io.ReadFull(r.Body, make([]byte, 1))
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
			io.Copy(io.Discard, c)
		},
	} {
		for framing, body := range unfinishedBodies {
			for _, version := range []string{"1.1", "1.0"} {
				if version == "1.0" && framing != "length" || framing == inAChunk && name != "at once" {
					continue
				}
				t.Run(name+" "+framing+" "+version, func(t *testing.T) {
					t.Parallel()
					b := serveRawly(t, answer)
					r := startAt(t, "http://"+b.address, allRequired)
					c, in := r.dial(t)
					io.WriteString(c, "PUT /early HTTP/"+version+"\r\nHost: a\r\nConnection: keep-alive\r\n"+body)
					resp := finalAnswer(t, in)
					if _, err := io.ReadAll(resp.Body); err != nil || !resp.Close {
						t.Errorf("%v: %+v", err, resp)
					}
					io.WriteString(c, smuggled)
					c.(*net.TCPConn).CloseWrite()
					if more, _ := io.ReadAll(in); len(more) > 0 {
						t.Errorf("a second answer: %q", more)
					}
					if got := b.requests(); got != "PUT /early" {
						t.Errorf("the backend got %s", got)
					}
				})
			}
		}
	}
}

// finalAnswer reads the first answer that is no 1xx.
func finalAnswer(t *testing.T, in *bufio.Reader) *http.Response {
	t.Helper()
	for {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode >= 200 {
			return resp
		}
	}
}

// What we refuse ourselves, passing it through or not, ends no other way.
func TestARefusedBodyNeverBecomesARequest(t *testing.T) {
	gone, release, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	for _, method := range []string{"PUT", "POST"} { // to a backend that is not there, and without a key
		for framing, body := range unfinishedBodies {
			t.Run(method+" "+framing, func(t *testing.T) {
				t.Parallel()
				r := startAt(t, fmt.Sprint("http://127.0.0.1:", gone), allRequired)
				c, in := r.dial(t)
				io.WriteString(c, method+" /early HTTP/1.1\r\nHost: a\r\n"+body+smuggled)
				c.(*net.TCPConn).CloseWrite()
				if resp := finalAnswer(t, in); resp.StatusCode < 400 || !resp.Close {
					t.Errorf("%+v", resp)
				} else if _, err := io.ReadAll(resp.Body); err != nil {
					t.Error(err)
				}
				if more, _ := io.ReadAll(in); len(more) > 0 {
					t.Errorf("a second answer: %q", more)
				}
			})
		}
	}
}

// Both directions of an answer that began before its request had ended go on, and end in good order.
func TestAnAnswerThatBeganEarlyStreamsOn(t *testing.T) {
	b := serveRawly(t, func(c net.Conn, r *http.Request) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for buf := make([]byte, 1); ; {
			if _, err := io.ReadFull(r.Body, buf); err != nil {
				break
			}
			fmt.Fprintf(c, "1\r\n%s\r\n", buf)
		}
		io.WriteString(c, "0\r\n\r\n")
	})
	r := startAt(t, "http://"+b.address, allRequired)
	c, in := r.dial(t)
	io.WriteString(c, "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	resp := finalAnswer(t, in)
	if !resp.Close {
		t.Error("the connection would be kept")
	}
	for _, piece := range []string{"a", "b", "c"} {
		io.WriteString(c, "1\r\n"+piece+"\r\n")
		got := make([]byte, 1)
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != piece {
			t.Fatalf("%q %v", got, err)
		}
	}
	io.WriteString(c, "0\r\n\r\n")
	if last, err := io.ReadAll(resp.Body); err != nil || len(last) != 0 {
		t.Errorf("%q, %v", last, err)
	}
}

// A body that has ended before its answer costs no connection.
func TestUploadsKeepTheirConnection(t *testing.T) {
	b := serveRawly(t, func(c net.Conn, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
	})
	r := startAt(t, "http://"+b.address, allRequired)
	c, in := r.dial(t)
	for _, body := range []string{"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "Content-Length: 3\r\n\r\nabc", "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc", "Content-Length: 0\r\n\r\n"} {
		io.WriteString(c, "PUT /small HTTP/1.1\r\nHost: a\r\n"+body)
		resp := finalAnswer(t, in)
		if all, err := io.ReadAll(resp.Body); err != nil || string(all) != "ok" || resp.Close {
			t.Fatalf("%q: %q %v %+v", body, all, err, resp)
		}
	}
}

// Over HTTP/2 a request can say that its content has no bytes and end only after its head. ReverseProxy then sends none.
func TestAnEmptyUploadThatEndsLate(t *testing.T) {
	b := serveRawly(t, answerWhole("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	c := startAt(t, "http://"+b.address, allRequired).dialHTTP2(t)
	c.ask(1, false, "PUT", hpack.HeaderField{Name: "content-length", Value: "0"})
	c.WriteData(1, true, nil)
	for {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := f.(*http2.HeadersFrame); ok {
			if fields, err := hpack.NewDecoder(4096, nil).DecodeFull(got.HeaderBlockFragment()); err != nil || fields[0].Value != "200" {
				t.Errorf("%v, %v", fields, err)
			}
			return
		}
	}
}

// An answer that breaks off is seen to break off, though its client still has something to send.
func TestACutAnswerIsCutAtOnce(t *testing.T) {
	for framing, body := range unfinishedBodies {
		t.Run(framing, func(t *testing.T) {
			t.Parallel()
			b := serveRawly(t, func(c net.Conn, r *http.Request) {
				if framing != inAChunk {
					io.ReadFull(r.Body, make([]byte, 1))
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"+strings.Repeat("y", 5000))
			})
			r := startAt(t, "http://"+b.address, allRequired)
			c, in := r.dial(t)
			io.WriteString(c, "PUT /early HTTP/1.1\r\nHost: a\r\n"+body)
			if got, err := io.ReadAll(in); len(got) == 0 || len(got) >= 9999 {
				t.Errorf("%d bytes, %v", len(got), err)
			} else if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
				t.Error("the connection stays open")
			}
		})
	}
}

// So it is seen by a client of HTTP/1.0, to whom the end of the connection is that of content without a length.
func TestACutAnswerIsNoWholeOneToHTTP10(t *testing.T) {
	const part = "7\r\npartial\r\n"
	for rest, whole := range map[string]bool{"0\r\n\r\n": true, "": false} {
		b := serveRawly(t, answerWhole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+part+rest))
		r := startAt(t, "http://"+b.address, allRequired)
		c, in := r.dial(t)
		io.WriteString(c, "GET /cut HTTP/1.0\r\nHost: a\r\n\r\n")
		got, err := io.ReadAll(in)
		if (err == nil) != whole || whole && !strings.HasSuffix(string(got), "partial") {
			t.Errorf("after %q: %q, %v", rest, got, err)
		}
	}
}

// An upload whose backend is gone is answered, though its client has nothing to send just now and does not leave.
func TestAFailedUploadIsAnsweredWhileItsClientIsSilent(t *testing.T) {
	reset := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	reset.Config.Protocols = new(http.Protocols)
	reset.Config.Protocols.SetUnencryptedHTTP2(true)
	reset.Start()
	t.Cleanup(reset.Close)
	ends := map[string]string{"reset stream": strings.Replace(reset.URL, "http:", "h2c:", 1)}
	for name, answer := range map[string]string{
		"closed connection":          "",
		"closed after interim":       "HTTP/1.1 100 Continue\r\n\r\n",
		"closed in an answer's head": "HTTP/1.1 200 OK\r\nContent-Le",
		"no HTTP":                    "\x15\x03\x01\x00\x02\x02\x0a",
	} {
		ends[name] = "http://" + serveRawly(t, func(c net.Conn, _ *http.Request) { io.WriteString(c, answer) }).address
	}
	for name, backend := range ends {
		for framing, body := range unfinishedBodies {
			if framing != "chunks" && name != "closed connection" {
				continue
			}
			t.Run(name+" "+framing, func(t *testing.T) {
				t.Parallel()
				c, in := startAt(t, backend, allRequired).dial(t)
				io.WriteString(c, "PUT /early HTTP/1.1\r\nHost: a\r\n"+body)
				resp := finalAnswer(t, in)
				if all, err := io.ReadAll(resp.Body); resp.StatusCode != 502 || !resp.Close || !strings.Contains(string(all), "may have been executed") || err != nil {
					t.Errorf("%+v %s %v", resp, all, err)
				}
				io.WriteString(c, smuggled)
				c.(*net.TCPConn).CloseWrite()
				if more, _ := io.ReadAll(in); len(more) > 0 {
					t.Errorf("a second answer: %q", more)
				}
			})
		}
		if name != "closed connection" && name != "reset stream" {
			continue
		}
		t.Run(name+" HTTP/2", func(t *testing.T) {
			t.Parallel()
			r := startAt(t, backend, allRequired)
			client := &http.Transport{Protocols: new(http.Protocols)}
			client.Protocols.SetUnencryptedHTTP2(true)
			defer client.CloseIdleConnections()
			silent, write := io.Pipe()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "PUT", "http://"+r.address+"/early", io.MultiReader(strings.NewReader("x"), silent))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.RoundTrip(req)
			write.Close()
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if all, err := io.ReadAll(resp.Body); resp.StatusCode != 502 || err != nil {
				t.Errorf("%+v %s %v", resp, all, err)
			}
		})
	}
}

// The head of an answer, and what there is of its content, is not held back until the rest has come.
func TestAnAnswerOfKnownLengthStreams(t *testing.T) {
	gates := make(chan bool)
	b := serveRawly(t, func(c net.Conn, r *http.Request) {
		for _, part := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "01234", "56789"} {
			io.WriteString(c, part)
			<-gates
		}
	})
	r := startAt(t, "http://"+b.address, allRequired)
	c, in := r.dial(t)
	defer close(gates)
	io.WriteString(c, "GET /poll HTTP/1.1\r\nHost: a\r\n\r\n")
	resp := finalAnswer(t, in)
	for _, part := range []string{"01234", "56789"} {
		gates <- true
		got := make([]byte, 5)
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != part {
			t.Fatalf("%q %v", got, err)
		}
	}
}

// What is no answer is not passed on as one, and not told as a fault of ours; the backend's connection is not left open.
func TestWhatIsNoAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"unasked 101": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"below 100":   "HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan error, 1)
			b := serveRawly(t, func(c net.Conn, _ *http.Request) {
				io.WriteString(c, answer)
				_ = c.SetReadDeadline(time.Now().Add(time.Minute))
				_, err := c.Read(make([]byte, 1))
				closed <- err
			})
			startAt(t, "http://"+b.address, allRequired).send(t, "GET", "/", "").is(t, 502, "unprotected", "resend")
			if err := <-closed; err != io.EOF {
				t.Errorf("the backend's connection: %v", err)
			}
		})
	}
}

// Without a handshake nothing was sent, so that even what is not safe may be sent again.
func TestPassedToWhoSpeaksNoTLS(t *testing.T) {
	b := serveRawly(t, answerWhole(okay))
	startAt(t, "https://"+b.address, allRequired).send(t, "PUT", "/", "x").is(t, 503, "unprotected", "resend")
}

// serveHTTP2Rawly answers each request of the first connection with these fields, one HEADERS frame for each line, and
// then with content.
func serveHTTP2Rawly(t *testing.T, heads []string, content string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.CopyN(io.Discard, c, int64(len(http2.ClientPreface)))
		frames := http2.NewFramer(c, c)
		frames.WriteSettings()
		var block bytes.Buffer
		h := hpack.NewEncoder(&block)
		for {
			f, err := frames.ReadFrame()
			if err != nil {
				return
			}
			if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() {
				frames.WriteSettingsAck()
			}
			if f.Header().Type != http2.FrameHeaders {
				continue
			}
			for _, head := range heads {
				block.Reset()
				for field := range strings.SplitSeq(head, ", ") {
					name, value, _ := strings.Cut(field, "=")
					h.WriteField(hpack.HeaderField{Name: name, Value: value})
				}
				frames.WriteHeaders(http2.HeadersFrameParam{StreamID: f.Header().StreamID, BlockFragment: block.Bytes(), EndHeaders: true})
			}
			frames.WriteData(f.Header().StreamID, true, []byte(content))
		}
	}()
	return l.Addr().String()
}

// HTTP/2 lets a backend say what would be no HTTP/1.1.
func TestOddAnswersOfHTTP2(t *testing.T) {
	for name, c := range map[string]struct {
		heads  []string
		status int
	}{
		"101 on the way":     {[]string{":status=101", ":status=200"}, 200},
		"several lengths":    {[]string{":status=200, content-length=2, content-length=3"}, 200},
		"length with a sign": {[]string{":status=200, content-length=+2"}, 200},
		"no status":          {[]string{":status=1000"}, 502},
	} {
		t.Run(name, func(t *testing.T) {
			a := startAt(t, "h2c://"+serveHTTP2Rawly(t, c.heads, "ok"), allRequired).send(t, "GET", "/", "")
			if a.StatusCode != c.status || c.status == 200 && a.body != "ok" {
				t.Errorf("%d %q", a.StatusCode, a.body)
			}
			if sent := a.Header["Content-Length"]; c.status == 200 && len(sent) > 0 {
				t.Errorf("Content-Length %q", sent)
			}
		})
	}
}

// What has no content by its status is whole, whatever length it names: a 304 may name one, that of what it speaks of. A 204
// names none (RFC 9110, section 8.6), or clients of HTTP/2 would take it for malformed.
func TestLengthsOfNoContent(t *testing.T) {
	for _, status := range []string{"204", "304"} {
		for protocol, address := range map[string]string{
			"http": serveRawly(t, answerWhole("HTTP/1.1 "+status+" X\r\nConnection: close\r\nContent-Length: 5\r\n\r\n")).address,
			"h2c":  serveHTTP2Rawly(t, []string{":status=" + status + ", content-length=5"}, ""),
		} {
			f := startAt(t, protocol+"://"+address, allRequired).dialHTTP2(t)
			f.ask(1, true, "GET")
			f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			for ended := false; !ended; {
				got, err := f.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				switch got := got.(type) {
				case *http2.MetaHeadersFrame:
					ended = got.StreamEnded()
					if got.PseudoValue("status") != status {
						t.Errorf("%s, %s: answered %s", protocol, status, got.PseudoValue("status"))
					}
					for _, field := range got.RegularFields() {
						if field.Name == "content-length" && status == "204" {
							t.Errorf("%s: a 204 with a length", protocol)
						}
					}
				case *http2.DataFrame:
					ended = got.StreamEnded()
				case *http2.RSTStreamFrame:
					t.Errorf("%s, %s: %v", protocol, status, got.ErrCode)
					ended = true
				}
			}
		}
	}
}

// What a backend does not say of its content, nobody guesses.
func TestNoContentTypeIsInvented(t *testing.T) {
	b := serveRawly(t, answerWhole("HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"))
	r := startAt(t, "http://"+b.address, allRequired)
	if a := r.send(t, "GET", "/", ""); a.Header["Content-Type"] != nil || a.body != "<html>" {
		t.Errorf("%v %q", a.Header, a.body)
	}
}

// By the fields that only the gateway says, a client recognises it, wherever in an answer they stand.
func TestOurFieldsInInterimAnswersAndTrailers(t *testing.T) {
	for _, announced := range []string{"", "Trailer: X-Sum, Idempotency-State\r\n"} {
		b := serveRawly(t, answerWhole("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nIdempotency-State: replayed\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\n\r\n"+
			"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"+announced+"\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\nIdempotency-State: replayed\r\n\r\n"))
		for version, interim := range map[string]bool{"1.1": true, "1.0": false} {
			r := startAt(t, "http://"+b.address, allRequired)
			c, in := r.dial(t)
			io.WriteString(c, "GET / HTTP/"+version+"\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n")
			all, err := io.ReadAll(in)
			answer := string(all)
			if err != nil || strings.Contains(answer, "Idempotency-State") || strings.Contains(answer, "Hop") || strings.Contains(answer, "Keep-Alive") {
				t.Errorf("%v\n%s", err, answer)
			}
			if strings.HasPrefix(answer, "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n") != interim || strings.Contains(answer, " 103 ") != interim || !strings.Contains(answer, " 200 OK\r\n") {
				t.Errorf("HTTP/%s:\n%s", version, answer)
			}
			if interim && !strings.Contains(answer, "X-Sum: 2\r\n") {
				t.Errorf("the backend's trailer is lost:\n%s", answer)
			}
		}
	}
}

// A client that waits for 100 before it sends, and is told hints by the backend, can read both.
func TestHintsDoNotMixWithContinue(t *testing.T) {
	hint := "HTTP/1.1 103 Early Hints\r\nLink: </" + strings.Repeat("a", 3000) + ">\r\n\r\n"
	b := serveRawly(t, func(c net.Conn, r *http.Request) {
		io.WriteString(c, hint)
		io.Copy(io.Discard, r.Body)
		io.WriteString(c, okay)
	})
	c, in := startAt(t, "http://"+b.address, allRequired).dial(t)
	io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
	var answers []int
	for continued := false; ; {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("after %v: %v", answers, err)
		}
		answers = append(answers, resp.StatusCode)
		if resp.StatusCode >= 200 {
			break
		}
		if resp.StatusCode == 103 && (!continued || len(resp.Header) != 1) {
			t.Errorf("after %v: %v", answers, resp.Header)
		}
		if resp.StatusCode == 100 && !continued {
			continued = true
			io.WriteString(c, "x")
		}
	}
	if n := len(answers); answers[n-1] != 200 || answers[n-2] != 103 {
		t.Errorf("%v", answers)
	}
}

// Where a client resets its stream while hints are written to it, nobody changes their fields before that is over. It
// needs the race detector to see this; without it the process ends now and then.
func TestHintsToAStreamThatIsReset(t *testing.T) {
	hint := "HTTP/1.1 103 Early Hints\r\nLink: </" + strings.Repeat("a", 60_000) + ">\r\n\r\n"
	b := serveRawly(t, func(c net.Conn, _ *http.Request) {
		for {
			if _, err := io.WriteString(c, hint); err != nil {
				return
			}
		}
	})
	c := startAt(t, "http://"+b.address, allRequired).dialHTTP2(t)
	for id := uint32(1); id < 20; id += 2 {
		c.ask(id, true, "GET")
		for {
			f, err := c.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if f.Header().Type == http2.FrameHeaders && f.Header().StreamID == id {
				break
			}
		}
		c.WriteRSTStream(id, http2.ErrCodeCancel)
	}
}

// A gateway that leaves says so although the backend gave hints before its answer.
func TestLeaveAfterAnInterimAnswer(t *testing.T) {
	b := serveRawly(t, answerWhole("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"))
	r := startAt(t, "http://"+b.address, allRequired)
	r.Leave()
	c, in := r.dial(t)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp := finalAnswer(t, in); !resp.Close {
		t.Errorf("%+v", resp)
	}
}

const okay = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"

// A client's trailers are no way to forge what its fields may not say.
func TestForgedTrailers(t *testing.T) {
	b := serveRawly(t, answerWhole(okay))
	r := startAt(t, "http://"+b.address, allRequired)
	c, in := r.dial(t)
	io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Onceway-Caller\r\n\r\n1\r\nx\r\n0\r\n"+
		"X-Sum: 1\r\nOnceway-Caller: forged\r\nonceway_operation: forged\r\nX-Forwarded-For: forged\r\n\r\n")
	finalAnswer(t, in)
	if wire := b.wire(); strings.Contains(wire, "forged") || strings.Contains(wire, "Onceway-Caller") || !strings.Contains(wire, "X-Sum: 1\r\n") {
		t.Errorf("the backend got\n%s", wire)
	}
}

// The trailers of a request that needs no content come through behind none as well. While net/http looks for content it
// must not have to do with the trailers: that is a race, and ends the process.
func TestTrailersBehindNoContent(t *testing.T) {
	b := serveRawly(t, answerWhole(okay))
	r := startAt(t, "http://"+b.address, allRequired)
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	client := &http.Transport{Protocols: &p}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+r.address+"/", io.MultiReader())
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"X-Sum": {"1"}}
	resp, err := client.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if wire := b.wire(); !strings.HasSuffix(wire, "\r\n\r\n0\r\nX-Sum: 1\r\n\r\n") {
		t.Errorf("the backend got\n%s", wire)
	}
}

// A tunnel for anything else than a WebSocket would carry requests past the gateway.
func TestOnlyWebSocketsAreTunnelled(t *testing.T) {
	for name, test := range map[string]struct {
		request string
		tunnel  bool
	}{
		"websocket":     {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n", true},
		"h2c":           {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", false},
		"not named":     {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", false},
		"several":       {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n", false},
		"HTTP/1.0":      {"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false},
		"with content":  {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx", false},
		"other methods": {"PUT / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := serveRawly(t, answerWhole(okay))
			r := startAt(t, "http://"+b.address, allRequired)
			c, in := r.dial(t)
			io.WriteString(c, test.request)
			finalAnswer(t, in)
			wire := b.wire()
			if asked := strings.Contains(wire, "\r\nUpgrade: "); asked != test.tunnel || strings.Contains(strings.ToLower(wire), "http2-settings") {
				t.Errorf("the backend got\n%s", wire)
			}
		})
	}
}

// What a client sends behind the request for its WebSocket reaches the backend when that has agreed, and goes both ways
// until each side has ended.
func TestAWebSocketLosesNothingThatComesEarly(t *testing.T) {
	for name, early := range map[string]string{"nothing": "", "a byte": "e", "much": strings.Repeat("early", 4000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 1)
			asked := make(chan bool)
			b := serveRawly(t, func(c net.Conn, _ *http.Request) {
				<-asked
				io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
				all, _ := io.ReadAll(c)
				got <- string(all)
				io.WriteString(c, "bye")
			})
			c, in := startAt(t, "http://"+b.address, allRequired).dial(t)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+early)
			close(asked)
			if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%+v %v", resp, err)
			}
			io.WriteString(c, "late")
			c.(*net.TCPConn).CloseWrite()
			if all := <-got; all != early+"late" {
				t.Errorf("the backend got %d bytes of %d: %.40q", len(all), len(early)+4, all)
			}
			if all, err := io.ReadAll(in); string(all) != "hellobye" || err != nil {
				t.Errorf("the client got %q, %v", all, err)
			}
		})
	}
}

// A client's Connection removes no key, protected or not.
func TestConnectionRemovesNoKey(t *testing.T) {
	b := serveRawly(t, answerWhole(okay))
	r := startAt(t, "http://"+b.address, allRequired)
	c, in := r.dial(t)
	io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nConnection: Idempotency-Key, X-Hop\r\nIdempotency-Key: k\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n")
	finalAnswer(t, in)
	if wire := strings.ToLower(b.wire()); !strings.Contains(wire, "\r\nidempotency-key: k\r\n") || strings.Contains(wire, "x-hop") {
		t.Errorf("the backend got\n%s", wire)
	}
}
