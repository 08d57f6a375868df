package spool

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// home is the file that says whose the directory is. People may read and edit it.
type home struct {
	Version  int    `json:"version"`
	Instance string `json:"instance"` // 32 hex digits
	Store    string `json:"store"`    // the store that the entries are for; "" while there has been none
}

const (
	homeFile    = "spool.json"
	homeVersion = 1
)

// findHome reads the file, or makes one with a new instance.
func (s *Spool) findHome() error {
	path := filepath.Join(s.dir, homeFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var id [16]byte
		rand.Read(id[:])
		s.home = home{Version: homeVersion, Instance: hex.EncodeToString(id[:])}
		return s.writeHome()
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &s.home); err != nil {
		return fmt.Errorf("%s: %w", homeFile, err)
	}
	if s.home.Version != homeVersion {
		return fmt.Errorf("%s has version %d, and this program knows %d: start the program that wrote it until the spool is empty",
			homeFile, s.home.Version, homeVersion)
	}
	if _, err := s.home.instance(); err != nil {
		return fmt.Errorf("%s: instance: %w", homeFile, err)
	}
	return nil
}

func (h home) instance() (id [16]byte, err error) {
	b, err := hex.DecodeString(h.Instance)
	if err == nil && len(b) != len(id) {
		err = errors.New("not 32 hexadecimal digits")
	}
	copy(id[:], b)
	return id, err
}

func (s *Spool) writeHome() error {
	b, err := json.MarshalIndent(s.home, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, homeFile)
	if err := s.writeSynced(path+writingSuffix+".json", append(b, '\n')); err != nil {
		return err
	}
	if err := os.Rename(path+writingSuffix+".json", path); err != nil {
		return err
	}
	return s.options.syncNames(s.dir)
}

// Instance is the gateway's id: the same for every process that has had this directory.
func (s *Spool) Instance() [16]byte {
	id, _ := s.home.instance() // checked when it was read
	return id
}

// Bind makes the spool that of a store. The identity is any text that no other store has. A spool with
// entries for another store is refused: there, nobody would know what they are about.
func (s *Spool) Bind(identity string) error {
	if s.home.Store == identity {
		return nil
	}
	if n := s.Status().Depth; n > 0 && s.home.Store != "" {
		return fmt.Errorf("spool %s holds %d outcomes for another store (%s; this one is %s): start with that store until they are recorded, "+
			"or, if this is the same store under another name, write its name into %s", s.dir, n, s.home.Store, identity, filepath.Join(s.dir, homeFile))
	}
	s.home.Store = identity
	if err := s.writeHome(); err != nil {
		return fmt.Errorf("spool %s: %w", s.dir, err)
	}
	return nil
}
