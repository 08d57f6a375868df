//go:build !onceway_testspool

package main

import "github.com/onceway/onceway/idempotency/spool"

// spoolStep is nil: only a test build does something at the steps of the spool.
func spoolStep() func(spool.Step) { return nil }
