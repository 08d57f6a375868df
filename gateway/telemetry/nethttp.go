package telemetry

import (
	"bytes"
	"log"
	"log/slog"
)

// NetHTTP returns what net/http and httputil may log to, at the level debug. Their messages quote what they could
// not read, which is the traffic's. Here come out the words only that a message of a known kind begins with.
func NetHTTP(to *slog.Logger) *log.Logger { return log.New(fixedWords{to}, "", 0) }

type fixedWords struct{ log *slog.Logger }

// Write takes one message. It never fails.
func (w fixedWords) Write(message []byte) (int, error) {
	said := "net/http: something else"
	for _, known := range netHTTPWords {
		if bytes.HasPrefix(message, []byte(known)) {
			said = known
			break
		}
	}
	w.log.Debug(said)
	return len(message), nil
}

// netHTTPWords are how messages begin, up to the first thing that is not always the same.
var netHTTPWords = [...]string{
	"http: TLS handshake error",
	"http: Accept error",
	"http: panic serving",
	"http: superfluous response.WriteHeader call",
	"http: response.WriteHeader on hijacked connection",
	"http: response.Write on hijacked connection",
	"http: invalid Content-Length",
	"http: WriteHeader called with both Transfer-Encoding",
	"http: proxy error",
	"httputil: ReverseProxy read error during body copy",
	"http2: server: error reading preface from client",
	"http2: server connection error",
	"http2: server closing client connection",
	"http2: received GOAWAY",
	"http2: panic serving",
	"timeout waiting for SETTINGS frames",
	"timeout waiting for PING response",
	"ignoring invalid trailer",
}
