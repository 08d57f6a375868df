package main

import (
	"os"
	"runtime/debug"
)

// relaxGC lets the heap grow to three times what is live before it is collected. A gateway's live heap
// is a few megabytes, so that Go's default of two times collects it many times a second: measured, that
// is a fifth of the CPU of a fresh request. Beyond three times the memory costs more than it saves. GOGC and
// GOMEMLIMIT, if set, are the operator's word.
func relaxGC() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(200)
	}
}
