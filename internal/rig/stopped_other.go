//go:build !linux

package rig

import (
	"bytes"
	"os/exec"
	"strconv"
	"testing"
)

// AwaitStopped returns when SIGSTOP has taken effect.
func (g *Gateway) AwaitStopped(t testing.TB) {
	t.Helper()
	g.Until(t, "the gateway is stopped", func() bool {
		out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(g.Pid())).Output()
		if err != nil {
			t.Fatal(err)
		}
		return bytes.HasPrefix(bytes.TrimSpace(out), []byte("T"))
	})
}
