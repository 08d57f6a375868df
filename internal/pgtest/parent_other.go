//go:build !linux

package pgtest

import "syscall"

// endWithParent leaves it to the watchdog.
func endWithParent(*syscall.SysProcAttr) {}
