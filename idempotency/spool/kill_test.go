package spool_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/onceway/onceway/idempotency/spool"
)

// steps is how many a Put has.
const steps = int(spool.Durable) + 1

// TestMain is also the process that dies.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_KILL_DIR"); dir != "" {
		at, _ := strconv.Atoi(os.Getenv("SPOOL_KILL_STEP"))
		die(dir, at)
	}
	os.Exit(m.Run())
}

// die puts two entries, prints the name of each once it is confirmed, and is killed at a step of the second.
func die(dir string, at int) {
	puts := 0
	s, err := spool.Open(dir, spool.Options{Step: func(step spool.Step) {
		if puts == 1 && int(step) == at {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}})
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"first", "second"} {
		e := entry(name, answered(name))
		if err := s.Put(e); err != nil {
			panic(err)
		}
		puts++
		fmt.Println(name)
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// What was confirmed is there after kill -9 at any step; what was not is there whole or not at all, and
// nothing is damaged.
func TestKilledAtEachStep(t *testing.T) {
	for at := range steps + 1 { // one more: after the answer
		t.Run(strconv.Itoa(at), func(t *testing.T) {
			dir := t.TempDir()
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), "SPOOL_KILL_DIR="+dir, "SPOOL_KILL_STEP="+strconv.Itoa(at))
			child.Stderr = os.Stderr
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			confirmed := map[string]bool{}
			for lines := bufio.NewScanner(out); lines.Scan(); {
				confirmed[lines.Text()] = true
			}
			child.Wait()
			if child.ProcessState.Exited() || len(confirmed) != 1 && at < steps {
				t.Fatalf("%v, %d entries were confirmed", child.ProcessState, len(confirmed))
			}
			s := open(t, dir, spool.Options{})
			found := map[string]bool{}
			for _, e := range s.List() {
				got, err := s.Get(e.Attempt)
				if err != nil {
					t.Fatal(err)
				}
				name := string(got.Record.Operation.Key)
				want := entry(name, answered(name))
				want.Record.Attempt.ID = e.Attempt
				want.Outcome = answered(name)(want.Record.Attempt)
				wants(t, s, want)
				found[name] = true
			}
			for name := range confirmed {
				if !found[name] {
					t.Errorf("%s was confirmed and is gone", name)
				}
			}
			if n := s.Status().Damaged; n != 0 {
				t.Errorf("%d damaged", n)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*.writing")); len(left) != 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// What a process was cut off in the middle of writing was confirmed to nobody, and is no damage.
func TestACutWriteIsDropped(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, spool.Options{})
	e := entry("a", answered("made"))
	put(t, s, e)
	s.Close()
	name := file(t, dir, ".entry")
	b, _ := os.ReadFile(name)
	os.Remove(name)
	if err := os.WriteFile(filepath.Join(dir, e.Record.Attempt.ID.String()+".writing"), b[:len(b)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, spool.Options{})
	if st := s.Status(); st.Depth != 0 || st.Damaged != 0 || st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
}
