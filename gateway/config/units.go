package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// parseDuration reads Go's notation, which may be preceded by whole days. It is never negative.
func parseDuration(s string) (time.Duration, error) {
	bad := errors.New("is not a duration")
	var days time.Duration
	if head, tail, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(head, 10, 16)
		if err != nil {
			return 0, bad
		}
		days, s = time.Duration(n)*day, tail
		if s == "" {
			return days, nil
		}
	}
	rest, err := time.ParseDuration(s)
	switch {
	case err != nil || s[0] == '+':
		return 0, bad
	case rest < 0 || s[0] == '-':
		return 0, errors.New("is negative")
	case days+rest < 0:
		return 0, errors.New("is too long")
	}
	return days + rest, nil
}

// formatDuration is the shortest notation of Go's: 24h, not 24h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var units = []struct {
	name string
	size int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
	{"B", 1}, {"", 1},
}

// parseSize reads a whole number of bytes, or of one of the units; a space may stand between.
func parseSize(s string) (int64, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		if u.name != "" {
			digits = strings.TrimSuffix(digits, " ")
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		switch {
		case errors.Is(err, strconv.ErrRange) || err == nil && int64(n) > math.MaxInt64/u.size:
			return 0, errors.New("is too large")
		case err != nil:
			return 0, errors.New("is not a size")
		}
		return int64(n) * u.size, nil
	}
	return 0, errors.New("is not a size")
}

// formatSize uses the greatest binary unit that divides n.
func formatSize(n int64) string {
	for _, u := range []int{2, 1, 0} {
		if n > 0 && n%units[u].size == 0 {
			return strconv.FormatInt(n/units[u].size, 10) + units[u].name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
