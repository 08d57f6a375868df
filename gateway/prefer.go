package gateway

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// preferences are the two of RFC 7240 that the gateway honours (sections 4.1 and 4.3).
type preferences struct {
	wait         time.Duration // how long to hold; negative if not given
	respondAsync bool
}

// parsePrefer reads Prefer fields. Of a repeated preference the first counts; a value that is no
// number of seconds is ignored, as the RFC asks of preferences that are not understood. One that is larger than we can
// count is the largest that we can (RFC 9111, section 1.2.2).
func parsePrefer(lines []string) preferences {
	p := preferences{wait: -1}
	for _, pref := range splitPreferences(lines) {
		name, value := namePreference(pref)
		switch name {
		case "respond-async":
			p.respondAsync = true
		case "wait":
			if n, err := strconv.ParseUint(value, 10, 31); (err == nil || errors.Is(err, strconv.ErrRange)) && p.wait < 0 {
				p.wait = time.Duration(n) * time.Second
			}
		}
	}
	return p
}

// foreignPreferences returns the fields without the preferences that are for us, nil if none is left.
func foreignPreferences(lines []string) []string {
	var rest []string
	for _, pref := range splitPreferences(lines) {
		switch name, _ := namePreference(pref); name {
		case "respond-async", "wait":
		default:
			rest = append(rest, pref)
		}
	}
	if rest == nil {
		return nil
	}
	return []string{strings.Join(rest, ", ")}
}

// splitPreferences splits at commas outside quoted strings.
func splitPreferences(lines []string) []string {
	var prefs []string
	for _, line := range lines {
		start, quoted := 0, false
		for i := 0; i <= len(line); i++ {
			switch {
			case i == len(line) || line[i] == ',' && !quoted:
				if pref := strings.TrimSpace(line[start:i]); pref != "" {
					prefs = append(prefs, pref)
				}
				start = i + 1
			case line[i] == '\\' && quoted:
				i = min(i+1, len(line)-1)
			case line[i] == '"':
				quoted = !quoted
			}
		}
	}
	return prefs
}

func namePreference(pref string) (name, value string) {
	pref, _, _ = strings.Cut(pref, ";")
	name, value, _ = strings.Cut(pref, "=")
	return strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `"`)
}
