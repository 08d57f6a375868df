package telemetry

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// most is how many different values one label may have. Causes and lanes are short words out of fixed
// lists, a handful each: whatever comes beyond is somebody's mistake, and is counted as "other".
const most = 64

// labels keeps what belongs to a label's value, made once. Reading takes no lock.
type labels[V any] struct {
	make  func(value string) V
	mu    sync.Mutex
	known atomic.Pointer[map[string]V]
}

func (l *labels[V]) of(value string) V {
	if m := l.known.Load(); m != nil {
		if v, ok := (*m)[value]; ok {
			return v
		}
	}
	return l.add(value)
}

func (l *labels[V]) add(value string) V {
	if !isWord(value) {
		value = "other"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := map[string]V{}
	if m := l.known.Load(); m != nil {
		old = *m
	}
	if _, ok := old[value]; !ok && len(old) >= most {
		value = "other"
	}
	if v, ok := old[value]; ok {
		return v
	}
	grown := maps.Clone(old)
	v := l.make(value)
	grown[value] = v
	l.known.Store(&grown)
	return v
}

// isWord reports whether s is a word as causes and lanes are: at most 32 lower-case letters, hyphens and
// underscores, or nothing, or "status-" and three digits. A key or a piece of a body is hardly ever one.
func isWord(s string) bool {
	if code, ok := strings.CutPrefix(s, "status-"); ok && len(code) == 3 {
		return strings.Trim(code, "0123456789") == ""
	}
	if len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func word(s string) string {
	if isWord(s) {
		return s
	}
	return "other"
}
