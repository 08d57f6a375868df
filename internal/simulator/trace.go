package simulator

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// trace is what happened, in the order of virtual time.
type trace struct {
	start time.Time
	mu    sync.Mutex
	lines []line
}

type line struct {
	at   time.Duration
	text string
}

func (tr *trace) add(format string, args ...any) {
	at := time.Since(tr.start)
	text := fmt.Sprintf(format, args...)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.lines = append(tr.lines, line{at, text})
}

// sorted returns the lines; those of one instant by their text, since there is no other order between them.
func (tr *trace) sorted() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	slices.SortFunc(tr.lines, func(a, b line) int {
		if a.at != b.at {
			return cmp.Compare(a.at, b.at)
		}
		return strings.Compare(a.text, b.text)
	})
	all := make([]string, len(tr.lines))
	for i, l := range tr.lines {
		all[i] = fmt.Sprintf("%13.9f %s", l.at.Seconds(), l.text)
	}
	return all
}

func hashOf(lines []string) string {
	h := sha256.New()
	for _, l := range lines {
		fmt.Fprintln(h, l)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
