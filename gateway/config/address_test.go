package config

import (
	"net/url"
	"testing"
)

// A target is the gateway itself in whatever spelling, and a neighbour is not.
func TestTargetsThatLeadBack(t *testing.T) {
	for _, c := range []struct {
		listen, target string
		back           bool
	}{
		{"127.0.0.1:8080", "http://127.0.0.1:8080", true},
		{"127.0.0.1:8080", "http://localhost:8080", true},
		{"localhost:8080", "http://127.0.0.1:8080", true},
		{"[::1]:8080", "h2c://localhost:8080", true},
		{"127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080", true},
		{"127.0.0.1:8080", "http://0.0.0.0:8080", true},
		{":8080", "http://localhost:8080", true},
		{":8080", "http://127.0.0.1:8080", true},
		{":8080", "http://[::]:8080", true},
		{"0.0.0.0:8080", "http://127.1.2.3:8080", true},
		{"[::]:443", "https://localhost", true},
		{":80", "http://localhost", true},
		{"gateway:8080", "http://gateway:8080", true},
		{"127.0.0.1:8080", "http://127.0.0.1:8081", false},
		{"127.0.0.1:8080", "http://127.0.0.2:8080", false},
		{"127.0.0.1:8080", "http://[::1]:8080", false},
		{"0.0.0.0:8080", "http://[::1]:8080", false},
		{":8080", "http://10.0.0.1:8080", false}, // perhaps, but another container may have the port
		{":8080", "http://backend:8080", false},
		{"10.0.0.1:8080", "http://localhost:8080", false},
		{":443", "http://localhost", false},
	} {
		u, err := url.Parse(c.target)
		if err != nil {
			t.Fatal(err)
		}
		if leadsBack(c.listen, u) != c.back {
			t.Errorf("listening on %s, target %s: %t", c.listen, c.target, !c.back)
		}
	}
}
