package caller

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/onceway/onceway/gateway/config"
)

func trusted(prefixes ...string) Trusted {
	var all []netip.Prefix
	for _, p := range prefixes {
		all = append(all, netip.MustParsePrefix(p))
	}
	return NewTrusted(all)
}

func TestTrusted(t *testing.T) {
	set := trusted("10.0.0.0/8", "::ffff:192.0.2.0/120", "2001:db8::/32", "fe80::/10")
	for _, test := range []struct {
		peer string
		want bool
	}{
		{"10.1.2.3:4", true}, {"[::ffff:10.1.2.3]:4", true}, {"11.0.0.1:4", false}, {"[::ffff:11.0.0.1]:4", false},
		{"192.0.2.200:4", true}, {"[::ffff:192.0.2.1]:4", true}, {"192.0.3.1:4", false},
		{"[2001:db8::1]:4", true}, {"[2001:db9::1]:4", false}, {"[fe80::1%eth0]:4", true},
		{"10.1.2.3", false}, {"", false}, {"@", false}, {"host:1", false},
	} {
		if got := set.Peer(test.peer); got != test.want {
			t.Errorf("%q: got %v", test.peer, got)
		}
	}
	for _, addr := range []string{"::ffff:10.1.2.3", "fe80::1%eth0", "::ffff:192.0.2.200"} {
		if !set.Contains(netip.MustParseAddr(addr)) {
			t.Errorf("%s is not trusted", addr)
		}
	}
	if (Trusted{}).Peer("127.0.0.1:1") {
		t.Error("the empty set trusts somebody")
	}
}

func TestHeader(t *testing.T) {
	resolver := Header{Name: "x-user-id", Trusted: trusted("10.0.0.0/8")}
	const in, out = "10.0.0.1:5", "192.0.2.1:5"
	for _, test := range []struct {
		name, peer string
		values     []string
		want, text string
	}{
		{"good", in, []string{"alice"}, "alice", ""},
		{"longest", in, []string{strings.Repeat("a", 255)}, strings.Repeat("a", 255), ""},
		{"mapped peer", "[::ffff:10.0.0.1]:5", []string{"alice"}, "alice", ""},
		{"client's own claim", out, []string{"mallory"}, "", "trusted_proxies"},
		{"missing", in, nil, "", "X-User-Id is missing"},
		{"empty", in, []string{""}, "", "is empty"},
		{"repeated", in, []string{"mallory", "alice"}, "", "more than once"},
		{"repeated alike", in, []string{"mallory", "mallory"}, "", "more than once"},
		{"too long", in, []string{strings.Repeat("mallory", 37)}, "", "longer than 255"},
		{"space", in, []string{"mallory x"}, "", "visible ASCII"},
		{"not ASCII", in, []string{"mallory\xe9"}, "", "visible ASCII"},
		{"control", in, []string{"mallory\x7f"}, "", "visible ASCII"},
		{"reserved", in, []string{"anonymous"}, "", "reserved"},
	} {
		r := &http.Request{RemoteAddr: test.peer, Header: http.Header{}}
		if test.values != nil {
			r.Header["X-User-Id"] = test.values
		}
		got, err := resolver.Resolve(r)
		if test.text == "" {
			if err != nil || string(got) != test.want {
				t.Errorf("%s: got %q, %v", test.name, got, err)
			}
			continue
		}
		var unauthenticated *Unauthenticated
		if !errors.As(err, &unauthenticated) || got != "" || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "mallory") {
			t.Errorf("%s: got %q, %v", test.name, got, err)
		}
	}
}

func TestNew(t *testing.T) {
	none, err := New(&config.Config{Caller: config.Caller{None: &config.CallerNone{}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := none.Resolve(&http.Request{}); got != Anonymous || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	header, err := New(&config.Config{
		Caller:         config.Caller{Header: &config.CallerHeader{Name: "X-User-Id"}},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := header.Resolve(&http.Request{RemoteAddr: "127.0.0.1:1", Header: http.Header{"X-User-Id": {"a"}}}); got != "a" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := New(&config.Config{}); err == nil {
		t.Error("a configuration without callers is accepted")
	}
}
