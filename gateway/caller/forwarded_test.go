package caller

import (
	"crypto/tls"
	"net/http"
	"reflect"
	"testing"
)

func TestSetForwarded(t *testing.T) {
	sent := func() http.Header {
		return http.Header{
			"X-Forwarded-For":   {"203.0.113.9", "198.51.100.1, 198.51.100.2"},
			"X-Forwarded-Host":  {"shop.example"},
			"X-Forwarded-Proto": {"https"},
			"X-Forwarded-Port":  {"443"},
			"X_forwarded_for":   {"6.6.6.6"},
			"Forwarded":         {"for=203.0.113.9;proto=https"},
			"Accept":            {"*/*"},
		}
	}
	for _, test := range []struct {
		name    string
		in      http.Request
		out     http.Header // nil: a copy of the incoming one
		trusted bool
		want    http.Header
	}{
		{"a stranger's are replaced", http.Request{RemoteAddr: "192.0.2.7:5", Host: "api.example:8080", Header: sent()}, nil, false, http.Header{
			"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Host": {"api.example:8080"}, "X-Forwarded-Proto": {"http"},
			"Forwarded": {`for=192.0.2.7;host="api.example:8080";proto=http`}, "Accept": {"*/*"},
		}},
		{"a proxy's are appended to", http.Request{RemoteAddr: "[2001:db8::7]:5", Host: "api.example", Header: sent()}, nil, true, http.Header{
			"X-Forwarded-For": {"203.0.113.9, 198.51.100.1, 198.51.100.2, 2001:db8::7"}, "X-Forwarded-Host": {"shop.example"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Port": {"443"},
			"Forwarded": {`for=203.0.113.9;proto=https, for="[2001:db8::7]";host=api.example;proto=http`}, "Accept": {"*/*"},
		}},
		{"a Connection header hides nothing", http.Request{RemoteAddr: "192.0.2.7:5", Host: "a", Header: sent()}, http.Header{}, true, http.Header{
			"X-Forwarded-For": {"203.0.113.9, 198.51.100.1, 198.51.100.2, 192.0.2.7"}, "X-Forwarded-Host": {"shop.example"}, "X-Forwarded-Proto": {"https"},
			"Forwarded": {`for=203.0.113.9;proto=https, for=192.0.2.7;host=a;proto=http`},
		}},
		{"first hop, TLS, mapped address", http.Request{RemoteAddr: "[::ffff:192.0.2.7]:5", Host: "a", TLS: &tls.ConnectionState{}, Header: http.Header{}}, nil, true, http.Header{
			"X-Forwarded-For": {"192.0.2.7"}, "X-Forwarded-Host": {"a"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"for=192.0.2.7;host=a;proto=https"},
		}},
		{"no address, strange host", http.Request{RemoteAddr: "@", Host: `a";for=1`, Header: sent()}, http.Header{}, false, http.Header{
			"X-Forwarded-Host": {`a";for=1`}, "X-Forwarded-Proto": {"http"}, "Forwarded": {`for=unknown;host="a\";for=1";proto=http`},
		}},
	} {
		out, before := test.out, test.in.Header.Clone()
		if out == nil {
			out = test.in.Header.Clone()
		}
		SetForwarded(out, &test.in, test.trusted)
		if !reflect.DeepEqual(out, test.want) {
			t.Errorf("%s:\ngot  %v\nwant %v", test.name, out, test.want)
		}
		if !reflect.DeepEqual(test.in.Header, before) {
			t.Errorf("%s: the incoming header was changed", test.name)
		}
	}
}
