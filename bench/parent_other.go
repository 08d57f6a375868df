//go:build !linux

package main

import "syscall"

// endWithParent does nothing: other systems have no such signal.
func endWithParent(*syscall.SysProcAttr) {}
