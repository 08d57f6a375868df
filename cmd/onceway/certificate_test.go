package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// renewal is a certificate that somebody renews, with the log that the gateway writes.
type renewal struct {
	*reloadedCertificate
	cert, key string
	lines     bytes.Buffer
}

// issue writes a pair in the way of tools that put a whole file in the place of another. All have the same time, as
// copies out of an archive may have.
func (r *renewal) issue(t *testing.T, serial int64, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
		if name == r.key {
			content = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
		}
		r.put(t, name, content)
	}
}

func (r *renewal) put(t *testing.T, name string, content []byte) {
	t.Helper()
	next, then := name+".next", time.Unix(1, 0)
	if err := os.WriteFile(next, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(next, then, then); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, name); err != nil {
		t.Fatal(err)
	}
}

// served returns the serial number of what the next handshake gets, when it is time to look.
func (r *renewal) served(t *testing.T) int64 {
	t.Helper()
	r.looked = time.Time{}
	c, err := r.get(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.Int64()
}

func startRenewal(t *testing.T) *renewal {
	t.Helper()
	dir := t.TempDir()
	r := &renewal{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	r.issue(t, 1, r.cert, r.key)
	var err error
	if r.reloadedCertificate, err = newReloadedCertificate(r.cert, r.key, slog.New(slog.NewTextHandler(&r.lines, nil))); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestACertificateIsRenewed(t *testing.T) {
	r := startRenewal(t)
	if n := r.served(t); n != 1 {
		t.Errorf("serves %d", n)
	}
	r.issue(t, 2, r.cert, r.key)
	if n := r.served(t); n != 2 {
		t.Errorf("serves %d", n)
	}
	if r.served(t); strings.Count(r.lines.String(), "certificate renewed") != 1 {
		t.Errorf("the log:\n%s", &r.lines)
	}
}

// Whoever renews a certificate in vain must hear of it before the former one has expired.
func TestACertificateThatCannotBeRenewed(t *testing.T) {
	r := startRenewal(t)
	for name, spoil := range map[string]func(){
		"another key": func() { r.issue(t, 3, r.cert) },
		"garbage":     func() { r.put(t, r.cert, []byte("garbage")) },
		"gone":        func() { os.Remove(r.key) },
	} {
		r.lines.Reset()
		r.issue(t, 1, r.cert, r.key)
		r.served(t)
		spoil()
		for range 3 {
			if n := r.served(t); n != 1 {
				t.Errorf("%s: serves %d", name, n)
			}
		}
		if strings.Count(r.lines.String(), "level=WARN") != 1 || !strings.Contains(r.lines.String(), "not renewed") {
			t.Errorf("%s: the log:\n%s", name, &r.lines)
		}
	}
}
