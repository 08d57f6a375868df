package main

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// reloadedCertificate reads its files again when they change. A pair that cannot be read, as in the
// middle of a renewal, leaves the one that is in use.
type reloadedCertificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	current *tls.Certificate
	changed [2]time.Time
	looked  time.Time
}

// lookEvery bounds how often handshakes ask the file system.
const lookEvery = time.Second

func newReloadedCertificate(certFile, keyFile string) (*reloadedCertificate, error) {
	c := &reloadedCertificate{certFile: certFile, keyFile: keyFile}
	return c, c.load()
}

func (c *reloadedCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) > lookEvery {
		c.looked = time.Now()
		if c.modified() != c.changed {
			_ = c.load()
		}
	}
	return c.current, nil
}

func (c *reloadedCertificate) load() error {
	changed := c.modified()
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current, c.changed = &pair, changed
	return nil
}

func (c *reloadedCertificate) modified() (at [2]time.Time) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			at[i] = info.ModTime()
		}
	}
	return at
}
