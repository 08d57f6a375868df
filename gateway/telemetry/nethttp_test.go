package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/onceway/onceway/gateway/telemetry"
)

// net/http quotes the traffic. None of that may be in the log, which says what happened all the same.
func TestNetHTTPIsNotQuoted(t *testing.T) {
	for message, want := range map[string]string{
		"httputil: ReverseProxy read error during body copy: malformed MIME header: missing colon: \"SECRET\"":   "httputil: ReverseProxy read error during body copy",
		"http2: server: error reading preface from client 127.0.0.1:4: bogus greeting \"SECRET\"":                "http2: server: error reading preface from client",
		"http: TLS handshake error from 127.0.0.1:4: tls: client requested unsupported protocols ([\"SECRET\"])": "http: TLS handshake error",
		"http: panic serving 127.0.0.1:4: SECRET\ngoroutine 1":                                                   "http: panic serving",
		"SECRET http: TLS handshake error":                                                                       "net/http: something else",
		"":                                                                                                       "net/http: something else",
	} {
		var out bytes.Buffer
		telemetry.NetHTTP(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))).Print(message)
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line["msg"] != want || line["level"] != "DEBUG" || bytes.Contains(out.Bytes(), []byte("SECRET")) {
			t.Errorf("%q is logged as %s", message, out.Bytes())
		}
	}
}
