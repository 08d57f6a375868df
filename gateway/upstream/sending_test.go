package upstream

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A body is interrupted only for an exchange that has failed: what ends one in good order closes its body, too.
func TestABodyIsInterruptedForFailuresOnly(t *testing.T) {
	for name, c := range map[string]struct {
		happens     func(s *sending)
		interrupted bool
	}{
		"nothing":               {func(*sending) {}, false},
		"closed":                {func(s *sending) { s.Close() }, true},
		"answered, then closed": {func(s *sending) { s.settle(); s.Close() }, false},
		"closed, then answered": {func(s *sending) { s.Close(); time.Sleep(answerWithin / 2); s.settle() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, more := io.Pipe()
				s := &sending{ReadCloser: client}
				read := make(chan error)
				go func() {
					_, err := s.Read(make([]byte, 1))
					read <- err
				}()
				synctest.Wait()
				c.happens(s)
				time.Sleep(2 * answerWithin)
				synctest.Wait()
				select {
				case err := <-read:
					if !c.interrupted || !errors.Is(err, io.ErrClosedPipe) {
						t.Errorf("interrupted: %v", err)
					}
				default:
					if c.interrupted {
						t.Error("the read still waits")
					}
					more.Close()
					<-read
				}
			})
		})
	}
}

// The body that nobody waits for stays as it is: net/http may send it over another connection.
func TestABodyThatWasNotReadIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, more := io.Pipe()
		s := &sending{ReadCloser: client}
		s.Close()
		time.Sleep(2 * answerWithin)
		if _, err := s.Read(make([]byte, 1)); err != io.ErrUnexpectedEOF {
			t.Errorf("read for a connection that is closed: %v", err)
		}
		go more.Write([]byte("x"))
		if _, err := client.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	})
}

// Where net/http has moved a request to another connection, the end of the former one, which may carry others yet, is not
// the request's.
func TestABodyThatMovedIsLeftAlone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &sending{ReadCloser: io.NopCloser(strings.NewReader("x"))}
	var conns [2]*watched
	for i := range conns {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = &watched{TCPConn: c.(*net.TCPConn)}
		s.over(httptrace.GotConnInfo{Conn: conns[i]})
	}
	conns[0].Close()
	if n, err := s.Read(make([]byte, 1)); n != 1 {
		t.Errorf("read: %v", err)
	}
	conns[1].Close()
	if _, err := s.Read(make([]byte, 1)); err != io.ErrUnexpectedEOF {
		t.Errorf("read when the connection is closed: %v", err)
	}
}

// Over every protocol RoundTrip returns when its backend has gone, although there is no end of the body to be had.
func TestPassThroughOutlivesASilentClient(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			b := newBackend(t, protocol, func(e *event) { e.cut(false); e.stop = true })
			u := newUpstream(t, Options{}, b.URL())
			silent, end := io.Pipe()
			defer end.Close()
			defer time.AfterFunc(20*time.Second, func() {
				t.Error("the client is still waited for")
				end.Close()
			}).Stop()
			r, err := http.NewRequestWithContext(t.Context(), "PUT", "http://ignored/", struct {
				io.Reader
				io.Closer
			}{io.MultiReader(strings.NewReader("x"), silent), silent})
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := u.RoundTripper().RoundTrip(r); err == nil {
				t.Errorf("%+v", resp)
			}
		})
	}
}
