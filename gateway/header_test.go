package gateway

import (
	"net/http"
	"reflect"
	"testing"
)

func TestToBackend(t *testing.T) {
	in := http.Header{
		"Idempotency-Key":    {`"k"`},
		"Idempotency_key":    {"another"},
		"Connection":         {"keep-alive, Idempotency-Key, X-Hop, onceway-operation"},
		"X-Hop":              {"1"},
		"Keep-Alive":         {"timeout=5"},
		"Expect":             {"100-continue"},
		"Te":                 {"trailers"},
		"Onceway-Operation":  {"forged"},
		"Onceway_attempt":    {"9"},
		"Onceway-Caller":     {"root"},
		"Traceparent":        {"00-1-1-01"},
		"Prefer":             {"wait=5, return=minimal", "respond-async"},
		"Accept":             {"*/*"},
		"X_under_score":      {"stays"},
		"Content-Length":     {"12"},
		"Content-Type":       {"application/json"},
		"Proxy-Connection":   {"close"},
		"Transfer-Encoding":  {"chunked"},
		"X-Forwarded-For":    {"6.6.6.6"},
		"Idempotency-Custom": {"stays"},
	}
	want := http.Header{
		"Idempotency-Key":    {`"k"`},
		"Prefer":             {"return=minimal"},
		"Accept":             {"*/*"},
		"X_under_score":      {"stays"},
		"Content-Type":       {"application/json"},
		"Idempotency-Custom": {"stays"},
	}
	got := http.Header{}
	for _, f := range toBackend(in, "Idempotency-Key", false) {
		got.Add(f.Name, f.Value)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestStorable(t *testing.T) {
	h := http.Header{
		"Location":                    {"/orders/1"},
		"X-Many":                      {"1", "2"},
		"Connection":                  {"close, X-Gone"},
		"X-Gone":                      {"1"},
		"Idempotency-State":           {"forged"},
		"Idempotent-Replayed":         {"true"},
		"Set-Cookie":                  {"a=1"},
		"set-cookie ":                 {"a=2"}, // as net/http reads it
		"Www-Authenticate":            {"Basic"},
		"Date":                        {"now"},
		"Age":                         {"1"},
		"Access-Control-Allow-Origin": {"*"},
		"Ratelimit-Policy":            {"1"},
		"X-Ratelimit-Remaining":       {"1"},
		"X-Secret":                    {"drop me"},
		"Content-Length":              {"3"},
	}
	fromBackend(h)
	stored, once := storable(h, []string{"X-Secret"})
	if want := (http.Header{"Location": {"/orders/1"}, "X-Many": {"1", "2"}}); !reflect.DeepEqual(stored, want) {
		t.Errorf("stored %v, want %v", stored, want)
	}
	want := http.Header{"Set-Cookie": {"a=1"}, "Www-Authenticate": {"Basic"}, "Age": {"1"}, "Access-Control-Allow-Origin": {"*"},
		"Ratelimit-Policy": {"1"}, "X-Ratelimit-Remaining": {"1"}, "X-Secret": {"drop me"}}
	if !reflect.DeepEqual(once, want) {
		t.Errorf("once %v, want %v", once, want)
	}
}
