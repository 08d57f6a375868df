package main

import "syscall"

// endWithParent makes a process end when the benchmark does, even if that is killed.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }
