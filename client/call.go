package client

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// call makes one call about an entry. The response is there if there was one, its content read as far as it came.
// The error explains what the answer cannot.
func (c *Client) call(ctx context.Context, f *flight, todo call, again bool) (*http.Response, answer, error) {
	f.mu.Lock()
	e, live := f.entry, f.live
	f.mu.Unlock()
	record := origin(e) + c.o.Facts.BasePath + "/requests/" + url.PathEscape(e.Key)
	method, target, body := http.MethodGet, record+"?wait="+seconds(c.o.Wait), []byte(nil)
	switch todo {
	case send:
		method, target, body = e.Method, e.URL, e.Body
	case cancel:
		method, target = http.MethodPut, record+"/cancellation"
	case acknowledge:
		method, target = http.MethodPut, record+"/acknowledgement"
	case ask, finish, halt, heard:
	}
	ctx, done := context.WithTimeout(ctx, c.o.CallTimeout)
	defer done()
	r, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, noAnswer, err
	}
	r.GetBody = nil // no library makes copies that nobody ordered
	if todo == send {
		r.Header = e.Header.Clone()
		r.Host = e.Host
		r.Header.Set(c.o.Facts.KeyHeader, e.Key)
		if r.Header.Get("Prefer") == "" {
			r.Header.Set("Prefer", "wait="+seconds(c.o.Wait))
		}
	} else if first := e.Header.Get("Idempotency-First-Sent"); first != "" {
		r.Header.Set("Idempotency-First-Sent", first) // a cancellation needs the date, too
	}
	return c.exchange(r, live, again)
}

// exchange adds credentials, sends, and reads the whole answer.
func (c *Client) exchange(r *http.Request, live http.Header, again bool) (*http.Response, answer, error) {
	for name, values := range live {
		r.Header[name] = values
	}
	if err := c.o.Authorize(r, again); err != nil {
		return nil, noAnswer, err
	}
	resp, err := c.o.Base.RoundTrip(r)
	if err != nil {
		return nil, noAnswer, err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(io.LimitReader(resp.Body, c.o.MaxAnswer+1))
	if int64(len(all)) > c.o.MaxAnswer {
		err = ErrTooLarge
	}
	resp.Body, resp.ContentLength = newContent(all), int64(len(all))
	return resp, read(resp.StatusCode, resp.Header, all, err == nil, c.now()), err
}

// query asks for the records of entries of one origin, which are at most 100, at once.
func (c *Client) query(ctx context.Context, of []*flight, again bool) (map[string]answer, error) {
	keys := make([]string, len(of))
	for i, f := range of {
		keys[i] = f.key
	}
	body, _ := json.Marshal(map[string]any{"keys": keys}) // strings
	ctx, done := context.WithTimeout(ctx, c.o.CallTimeout)
	defer done()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, origin(of[0].snapshot())+c.o.Facts.BasePath+"/query", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.GetBody = nil
	r.Header.Set("Content-Type", "application/json")
	of[0].mu.Lock()
	live := of[0].live
	of[0].mu.Unlock()
	resp, a, err := c.exchange(r, live, again)
	if resp == nil {
		return readQuery(0, nil, nil, false, keys, c.now()), err
	}
	return readQuery(resp.StatusCode, resp.Header, resp.Body.(content).all, a.whole, keys, c.now()), err
}

// content is a body that has been read.
type content struct {
	*bytes.Reader
	all []byte
}

func newContent(all []byte) content { return content{bytes.NewReader(all), all} }

func (c content) again() io.ReadCloser { return newContent(c.all) }

func (content) Close() error { return nil }

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
