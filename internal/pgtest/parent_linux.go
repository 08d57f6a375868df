package pgtest

import "syscall"

// endWithParent stops the server as soon as our process is gone, even killed.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
