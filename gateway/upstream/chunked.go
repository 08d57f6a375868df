package upstream

import (
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/textproto"
)

// chunked is chunked content (RFC 9112, section 7.1) whose trailer section may be as long as a head, and not just as
// the link's buffer, at which net/http's own reader of it gives up.
type chunked struct {
	chunks io.Reader // ends with the last chunk
	link   *link
	resp   *http.Response
	ended  error // io.EOF, or why the trailer section is not whole; nil before the last chunk
}

func newChunked(l *link, resp *http.Response) *chunked {
	return &chunked{chunks: httputil.NewChunkedReader(l.in), link: l, resp: resp}
}

// Read ends with io.EOF when the whole trailer section is here.
func (c *chunked) Read(p []byte) (int, error) {
	if c.ended != nil {
		return 0, c.ended
	}
	n, err := c.chunks.Read(p)
	if err == io.EOF {
		err = c.readTrailer()
		c.ended = err
	}
	return n, err
}

// readTrailer returns io.EOF when all is well.
func (c *chunked) readTrailer() error {
	in := c.link.in
	if end, _ := in.Peek(2); string(end) == "\r\n" {
		in.Discard(2)
		return io.EOF
	}
	c.link.headLeft = maxHead
	fields, err := textproto.NewReader(in).ReadMIMEHeader()
	c.link.headLeft = -1
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if c.resp.Trailer == nil { // otherwise it has those that were announced
		c.resp.Trailer = http.Header{}
	}
	maps.Copy(c.resp.Trailer, http.Header(fields))
	return io.EOF
}

// Close does nothing: what becomes of the link is its exchange's business.
func (c *chunked) Close() error { return nil }
