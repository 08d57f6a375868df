package main

import (
	"crypto/tls"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// reloadedCertificate reads its files again when they change. A pair that cannot be read, as in the
// middle of a renewal, leaves the one that is in use; whoever renews it is told, or would learn of it when that expires.
type reloadedCertificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	of      pairFiles // that current was read from
	told    pairFiles // that the log says cannot be read
	looked  time.Time
}

// pairFiles are certificate and key as they are found; nil where there is none.
type pairFiles [2]fs.FileInfo

// lookEvery bounds how often handshakes ask the file system.
const lookEvery = time.Second

func newReloadedCertificate(certFile, keyFile string, log *slog.Logger) (*reloadedCertificate, error) {
	c := &reloadedCertificate{certFile: certFile, keyFile: keyFile, log: log}
	return c, c.load(c.find())
}

func (c *reloadedCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) > lookEvery {
		c.looked = time.Now()
		c.renew()
	}
	return c.current, nil
}

func (c *reloadedCertificate) renew() {
	found := c.find()
	if found.are(c.of) {
		return
	}
	switch err := c.load(found); {
	case err == nil:
		c.log.Info("certificate renewed", "not_after", c.current.Leaf.NotAfter.UTC())
	case !found.are(c.told): // once, and not with each handshake
		c.told = found
		c.log.Warn("certificate not renewed, the former one stays in use", "error", err.Error(), "not_after", c.current.Leaf.NotAfter.UTC())
	}
}

// load reads the files, which were found before: if they change meanwhile, they are read again.
func (c *reloadedCertificate) load(found pairFiles) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current, c.of = &pair, found
	return nil
}

func (c *reloadedCertificate) find() (found pairFiles) {
	for i, name := range []string{c.certFile, c.keyFile} {
		found[i], _ = os.Stat(name)
	}
	return found
}

// are reports whether nothing has changed. The time alone does not say so: copies may keep that of their origin.
func (p pairFiles) are(others pairFiles) bool {
	for i, other := range others {
		if (p[i] == nil) != (other == nil) {
			return false
		}
		if other != nil && !(os.SameFile(p[i], other) && p[i].ModTime().Equal(other.ModTime()) && p[i].Size() == other.Size()) {
			return false
		}
	}
	return true
}
