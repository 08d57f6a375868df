package ledger

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"
)

// dirVariable makes a test binary the ledger process, and names its directory.
const dirVariable = "ONCEWAY_TEST_LEDGER"

// Main turns a process that [Start] started into the ledger, and returns at once in any other. Call it
// first of all in TestMain.
func Main() {
	dir := os.Getenv(dirVariable)
	if dir == "" {
		return
	}
	if err := run(dir); err != nil {
		log.Fatal(err)
	}
	os.Exit(0)
}

// addresses is what the process prints when it is ready.
type addresses struct{ Plain, TLS, Control string }

type process struct {
	book       *book
	gates      gates
	late       lateListeners
	operations operations
	requests   atomic.Int64
	conns      atomic.Int64
	server     *http.Server
}

// run serves until its standard input ends, which happens at the latest with the test process.
func run(dir string) error {
	book, err := openBook(filepath.Join(dir, "ledger"))
	if err != nil {
		return err
	}
	p := &process{book: book}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	p.server = &http.Server{
		Handler: http.HandlerFunc(p.serve), Protocols: &protocols, ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, &arrival{c, p.conns.Add(1)})
		},
	}
	certificate, err := selfSigned(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return err
	}
	p.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	var at addresses
	listen := func(address *string) net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		*address = l.Addr().String()
		return l
	}
	go p.server.Serve(listen(&at.Plain))
	go p.server.ServeTLS(listen(&at.TLS), "", "")
	go http.Serve(listen(&at.Control), p.control())
	if err := json.NewEncoder(os.Stdout).Encode(at); err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// control is how a test holds and releases the backend.
func (p *process) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /gates/{name}", func(_ http.ResponseWriter, r *http.Request) { p.gates.openUp(r.PathValue("name")) })
	mux.HandleFunc("GET /gates/{name}", func(_ http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		p.gates.await(r.PathValue("name"), n, r.Context().Done())
	})
	mux.HandleFunc("POST /late", func(w http.ResponseWriter, _ *http.Request) { p.late.reserve(w) })
	mux.HandleFunc("POST /late/{address}", func(w http.ResponseWriter, r *http.Request) {
		l, err := p.late.listen(r.PathValue("address"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		go p.server.Serve(l)
	})
	return mux
}

// selfSigned makes a certificate for 127.0.0.1 and localhost, and writes it where clients can trust it.
func selfSigned(path string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ledger"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
