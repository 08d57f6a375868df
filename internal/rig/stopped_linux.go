package rig

import (
	"bytes"
	"fmt"
	"os"
	"testing"
)

// AwaitStopped returns when SIGSTOP has taken effect.
func (g *Gateway) AwaitStopped(t testing.TB) {
	t.Helper()
	g.Until(t, "the gateway is stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.Pid()))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := bytes.Cut(stat, []byte(") ")) // behind the name
		return bytes.HasPrefix(rest, []byte("T"))
	})
}
