package route

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/idempotency"
)

func table() *Table {
	return New([]config.Route{
		{Name: "admin", Match: config.Match{Path: "/orders/**", Host: "*.admin.example.com"}},
		{Name: "create", Match: config.Match{Path: "/orders", Methods: []string{"POST"}}},
		{Name: "raw", Match: config.Match{Path: "/raw/**"}, RawPaths: true},
		{Name: "six", Match: config.Match{Path: "/x/*", Host: "::1"}},
		{Name: "orders", Match: config.Match{Path: "/orders/**"}},
	})
}

func TestFirstMatchWins(t *testing.T) {
	for _, test := range []struct{ method, host, path, want string }{
		{"POST", "h", "/orders", "create"},
		{"GET", "h", "/orders", "orders"},
		{"post", "h", "/orders", "orders"},
		{"POST", "h", "/orders/", "orders"},
		{"POST", "h", "/orders/1", "orders"},
		{"POST", "a.admin.example.com", "/orders", "admin"},
		{"POST", "A.Admin.Example.com.:8080", "/orders", "admin"},
		{"POST", "admin.example.com", "/orders", "create"},
		{"POST", "[::1]:80", "/x/1", "six"},
		{"POST", "[::1]", "/x/1", "six"},
		{"POST", "::2", "/x/1", ""},
		{"POST", "h", "/", ""},
		{"POST", "h", "/orders%2F1", ""},
		{"OPTIONS", "h", "*", ""},
	} {
		got, ok := table().Match(test.method, test.host, test.path)
		if ok != (test.want != "") || ok && got.Name != test.want {
			t.Errorf("%+v: got %+v", test, got)
		}
	}
	all := table()
	if n := testing.AllocsPerRun(100, func() { all.Match("POST", "api.example.com:8080", "/orders/1/items") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestExplain(t *testing.T) {
	x, err := table().Explain("GET", "http://h/orders")
	if err != nil || x.Route.Name != "orders" || x.Protected || len(x.Skipped) != 4 {
		t.Fatalf("got %+v, %v", x, err)
	}
	for i, want := range []string{
		"host h does not match *.admin.example.com", "method GET is not one of POST",
		"path /orders does not match /raw/**", "path /orders does not match /x/*",
	} {
		if x.Skipped[i].Why != want {
			t.Errorf("got %q, want %q", x.Skipped[i].Why, want)
		}
	}
	if x, err = table().Explain("POST", "/%6frders"); err != nil || x.Route.Name != "create" || !x.Protected || !strings.Contains(x.Skipped[0].Why, "has none") {
		t.Errorf("got %+v, %v", x, err)
	}
	if x, err = table().Explain("POST", "/none"); err != nil || x.Route != nil || len(x.Skipped) != 5 {
		t.Errorf("got %+v, %v", x, err)
	}
	if x, err = table().Explain("POST", "/raw//a"); err != nil || x.Route.Name != "raw" {
		t.Errorf("got %+v, %v", x, err)
	}
	var ambiguous *AmbiguousError
	if _, err = table().Explain("POST", "/orders//a"); !errors.As(err, &ambiguous) || !strings.Contains(err.Error(), "route orders") {
		t.Errorf("got %v", err)
	}
	var invalid *InvalidError
	if _, err = table().Explain("POST", "/orders?100%"); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "route create") {
		t.Errorf("%v", err)
	}
	if x, err = table().Explain("PUT", "/orders?100%"); err != nil || x.Protected {
		t.Errorf("%+v, %v", x, err)
	}
	if _, err = table().Explain("POST", "orders"); err == nil {
		t.Error("a relative URL is accepted")
	}
}

func TestProtected(t *testing.T) {
	standard := config.Idempotency{KeyDate: idempotency.DateUUIDv7}
	put := config.Idempotency{Methods: []string{"PUT"}}
	grpc := func(values ...string) http.Header { return http.Header{"Content-Type": values} }
	for _, test := range []struct {
		policy config.Idempotency
		method string
		header http.Header
		want   bool
	}{
		{standard, "POST", nil, true},
		{standard, "PATCH", nil, true},
		{standard, "PURGE", nil, true},
		{standard, "post", nil, true},
		{standard, "PUT", nil, false},
		{standard, "DELETE", nil, false},
		{standard, "GET", nil, false},
		{standard, "HEAD", nil, false},
		{standard, "OPTIONS", nil, false},
		{standard, "TRACE", nil, false},
		{put, "PUT", nil, true},
		{put, "POST", nil, false},
		{config.Idempotency{Mode: config.ModeOptional}, "POST", nil, true},
		{config.Idempotency{Mode: config.ModeOff}, "POST", nil, false},
		{config.Idempotency{Mode: config.ModeOff, Methods: []string{"POST"}}, "POST", nil, false},
		{standard, "POST", grpc("application/grpc"), false},
		{standard, "POST", grpc("Application/gRPC+proto; x=y"), false},
		{standard, "POST", grpc("application/grpc-web"), false},
		{standard, "POST", grpc("application/json"), true},
		{standard, "POST", grpc("application/json; x=application/grpc"), true},
		{standard, "POST", grpc("application/grpc", "application/json"), true},
		{standard, "POST", grpc("application/json", "application/grpc"), true},
		{standard, "GET", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, false},
		{standard, "POST", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, true},
	} {
		if got := Protected(&config.Route{Idempotency: test.policy}, test.method, test.header); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}
