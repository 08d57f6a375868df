package e2e

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// smallDisk mounts a file system that can be full.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for at := dir; at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
		os.Chmod(at, 0o755) // the database server runs as another user
	}
	if err := syscall.Mount("none", dir, "tmpfs", 0, "mode=0777,size="+size); errors.Is(err, syscall.EPERM) {
		t.Skip("needs root: a disk that can be full has to be mounted")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all that is left of a disk, and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = io.CopyN(f, zeros{}, int64(size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A store whose disk is full takes no claim, so nothing is sent; what was sent is recorded when there is room
// again. What is settled is answered.
func TestStoreDiskFull(t *testing.T) {
	t.Parallel()
	stores := map[string]func(t *testing.T) (dir, dsn string){
		"sqlite": func(t *testing.T) (dir, dsn string) {
			dir = smallDisk(t, "8m")
			return dir, "sqlite:" + filepath.Join(dir, "onceway.db")
		},
		"postgres": func(t *testing.T) (dir, dsn string) {
			dir = smallDisk(t, "64m")
			cluster := pgtest.NewCluster(t, pgtest.Config{Settings: map[string]string{"fsync": "off"}})
			admin := connect(t, cluster.DSN("postgres"))
			for _, sql := range []string{"CREATE TABLESPACE small LOCATION '" + cluster.Owned(t, filepath.Join(dir, "space")) + "'", "CREATE DATABASE full_disk TABLESPACE small"} {
				if _, err := admin.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			return dir, cluster.DSN("full_disk")
		},
	}
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, dsn := store(t)
			b := ledger.Start(t)
			g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: quiet})
			settled := rig.Request{Key: newKey(), Body: "a"}
			first := insist(t, g, settled)
			first.Is(t, executed)
			running := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey(), Big: 500_000}}
			answer := resent(t, g, running)
			b.Await(t, running.Script.After, 1)

			free := fill(t, dir)
			keys := []string{}
			refused := func() bool { // there may be room for a few in what is allocated
				keys = append(keys, newKey())
				return g.Do(t, rig.Request{Key: keys[len(keys)-1], Body: "a", Script: ledger.Script{Big: 100_000}}).Status == 503
			}
			g.Until(t, "claims are refused", func() bool { return len(keys) > 2000 || refused() })
			last := keys[len(keys)-1]
			if n := len(b.Of(t, ledger.Begin, last)); n != 0 {
				t.Errorf("%d requests were sent without a claim", n)
			}
			b.Open(t, running.Script.After)
			a := <-answer
			if a == nil {
				t.Fatal("no answer")
			}
			if a.Status != 200 {
				a.Is(t, doubted)
			}
			if a := g.Do(t, settled); a.Bytes() != first.Bytes() {
				t.Errorf("the answer of before is now %s", a.Bytes())
			}
			free()
			g.AwaitReady(t)
			g.Until(t, "claims are taken", func() bool {
				return g.Do(t, rig.Request{Key: last, Body: "a", Script: ledger.Script{Big: 100_000}}).Status == 200
			})
			g.Until(t, "the answer is recorded late", func() bool { return g.Get(t, recordPath(running.Key)).Record(t).State == "completed" })
			insist(t, g, running).Is(t, replayed)
			t.Logf("%d requests until the disk was full", len(keys))
			for _, key := range append(keys, running.Key, settled.Key) {
				if n := b.Effects(t, key); n > 1 {
					t.Errorf("%s was executed %d times", key, n)
				}
			}
			wantEffects(t, b, last, 1)
		})
	}
}
