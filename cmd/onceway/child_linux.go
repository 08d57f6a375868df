package main

import (
	"os/exec"
	"syscall"
)

// dieWithParent keeps a killed demo from leaving its backend behind.
func dieWithParent(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
