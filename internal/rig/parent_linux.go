package rig

import "syscall"

// endWithParent ends a gateway as soon as the test process is gone, even killed.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
