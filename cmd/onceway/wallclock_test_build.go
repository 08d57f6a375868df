//go:build onceway_testclock

package main

import (
	"os"
	"strings"
	"time"
)

// wallClock is wrong by what the file at ONCEWAY_TEST_CLOCK says, a duration that may change at any time.
// Only a build with the tag onceway_testclock has it.
func wallClock() time.Time {
	text, err := os.ReadFile(os.Getenv("ONCEWAY_TEST_CLOCK"))
	if err != nil {
		panic(err)
	}
	offset, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		panic(err)
	}
	return time.Now().Add(offset)
}
