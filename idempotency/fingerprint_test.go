package idempotency_test

import (
	"testing"

	"github.com/onceway/onceway/idempotency"
)

func TestFingerprint(t *testing.T) {
	base := idempotency.Fingerprinted{
		Method: "POST", Authority: "api.example:8080", Target: "/orders?a=b", MediaType: "application/json", ContentEncoding: "gzip", Body: []byte("{}"),
	}
	want := base.Fingerprint()
	if want.Version != idempotency.FingerprintVersion || want.IsZero() {
		t.Errorf("fingerprint is %v", want)
	}
	const text = "v1:2ad9a342fa81c282df578d804673c7a024a4924ea5aa782a3a2a62408babb0e1"
	if want.String() != text {
		t.Errorf("fingerprint is %v, want %s: an incompatible change needs a new version", want, text)
	}
	if (idempotency.Fingerprint{}).String() != "" || !(idempotency.Fingerprint{}).IsZero() {
		t.Error("the zero fingerprint has a text")
	}
	for name, change := range map[string]func(*idempotency.Fingerprinted){
		"method":           func(f *idempotency.Fingerprinted) { f.Method = "post" },
		"authority":        func(f *idempotency.Fingerprinted) { f.Authority = "api.example" },
		"target":           func(f *idempotency.Fingerprinted) { f.Target = "/orders?a=c" },
		"target's case":    func(f *idempotency.Fingerprinted) { f.Target = "/Orders?a=b" },
		"media type":       func(f *idempotency.Fingerprinted) { f.MediaType = "text/json" },
		"no media type":    func(f *idempotency.Fingerprinted) { f.MediaType = "" },
		"content encoding": func(f *idempotency.Fingerprinted) { f.ContentEncoding = "" },
		"body":             func(f *idempotency.Fingerprinted) { f.Body = []byte("{ }") },
		"no body":          func(f *idempotency.Fingerprinted) { f.Body = nil },
	} {
		f := base
		change(&f)
		if f.Fingerprint() == want {
			t.Errorf("another %s gives the same fingerprint", name)
		}
	}
	same := base
	same.Authority, same.ContentEncoding = "API.Example:8080", "GZIP"
	if same.Fingerprint() != want {
		t.Error("authority and content encoding are compared in their case")
	}
}

// FuzzFingerprint: a byte that moves from one part to the next changes the sum.
func FuzzFingerprint(f *testing.F) {
	f.Add("POST", "example", "/a", "text/plain", "gzip", []byte("body"))
	f.Add("", "", "", "", "", []byte{})
	f.Add("x", "", "x", "", "x", []byte("x"))
	f.Fuzz(func(t *testing.T, method, authority, target, mediaType, encoding string, body []byte) {
		of := func(p [6]string) idempotency.Fingerprint {
			return idempotency.Fingerprinted{Method: p[0], Authority: p[1], Target: p[2], MediaType: p[3], ContentEncoding: p[4], Body: []byte(p[5])}.Fingerprint()
		}
		parts := [6]string{method, authority, target, mediaType, encoding, string(body)}
		want := of(parts)
		if of(parts) != want {
			t.Fatal("the fingerprint is not a function of its parts")
		}
		for i := range len(parts) - 1 {
			if n := len(parts[i]); n > 0 {
				moved := parts
				moved[i], moved[i+1] = parts[i][:n-1], parts[i][n-1:]+parts[i+1]
				if of(moved) == want {
					t.Fatalf("%q: moving a byte over boundary %d changes nothing", parts, i)
				}
			}
			if len(parts[i+1]) > 0 {
				moved := parts
				moved[i], moved[i+1] = parts[i]+parts[i+1][:1], parts[i+1][1:]
				if of(moved) == want {
					t.Fatalf("%q: moving a byte back over boundary %d changes nothing", parts, i)
				}
			}
		}
	})
}
