//go:build onceway_testspool

package main

import (
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/onceway/onceway/idempotency/spool"
)

// spoolStep kills the process at a step of the spool, as kill -9 does. The file at ONCEWAY_TEST_SPOOL says
// at which, and at how many visits of it, as in "synced 3". Only a build with the tag onceway_testspool
// has it.
func spoolStep() func(spool.Step) {
	var mu sync.Mutex
	visits := map[spool.Step]int{}
	return func(at spool.Step) {
		text, err := os.ReadFile(os.Getenv("ONCEWAY_TEST_SPOOL"))
		if err != nil {
			panic(err)
		}
		step, count, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
		if step != at.String() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		visits[at]++
		if strconv.Itoa(visits[at]) == count {
			self, err := os.FindProcess(os.Getpid())
			if err != nil {
				panic(err)
			}
			self.Kill()
			select {}
		}
	}
}
