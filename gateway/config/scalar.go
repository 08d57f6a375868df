package config

import (
	"encoding/hex"
	"fmt"
	"math"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"
)

// The functions of this file make readers of one value: each checks the type and the range, and
// leaves the default in place when something is wrong.

func (d *decoder) str(dst *string) field {
	return func(path string, n *yaml.Node) {
		if s, ok := d.text(path, n); ok {
			*dst = s
		}
	}
}

// checked is str with a check that says what is wrong and what to do; both texts complete "PATH: ".
func (d *decoder) checked(dst *string, check func(string) (message, hint string)) field {
	return func(path string, n *yaml.Node) {
		s, ok := d.text(path, n)
		if !ok {
			return
		}
		if message, hint := check(s); message != "" {
			d.add(n, path, message, hint)
			return
		}
		*dst = s
	}
}

// literal returns the text of a number or truth value, which may also come from the environment.
func (d *decoder) literal(path string, n *yaml.Node, tag, want string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.wrongType(path, n, want, "")
		return "", false
	}
	if n.ShortTag() == "!!str" && strings.Contains(n.Value, "${") {
		return d.expand(path, n)
	}
	if n.ShortTag() != tag {
		hint := ""
		if n.ShortTag() == "!!str" {
			hint = "write it without quotes"
		}
		d.wrongType(path, n, want, hint)
		return "", false
	}
	return n.Value, true
}

func (d *decoder) boolean(dst *bool) field {
	return func(path string, n *yaml.Node) {
		s, ok := d.literal(path, n, "!!bool", "true or false")
		if !ok {
			return
		}
		switch strings.ToLower(s) {
		case "true":
			*dst = true
		case "false":
			*dst = false
		default:
			d.add(n, path, quote(n)+" is not a truth value", "", "true", "false")
		}
	}
}

func (d *decoder) integer(dst *int, least, most int) field {
	return func(path string, n *yaml.Node) {
		s, ok := d.literal(path, n, "!!int", "a whole number")
		if !ok {
			return
		}
		v, err := strconv.Atoi(s)
		if err != nil || v < least || v > most {
			d.add(n, path, quote(n)+" is out of range", "", between(least, most))
			return
		}
		*dst = v
	}
}

func between(least, most int) string {
	switch most {
	case math.MaxInt32:
		return fmt.Sprintf("%d or more", least)
	case least:
		return strconv.Itoa(least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// duration reads a length of time, at least least.
func (d *decoder) duration(dst *time.Duration, least time.Duration) field {
	return func(path string, n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
			if n.Value != "0" {
				d.add(n, path, "a duration needs a unit", "write "+printable(n.Value)+"s for seconds")
				return
			}
		} else if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
			d.wrongType(path, n, "a duration", "as in 250ms, 30s, 1h30m or 7d")
			return
		}
		s, ok := d.expand(path, n)
		if !ok {
			return
		}
		v, err := parseDuration(s)
		switch {
		case err != nil:
			d.add(n, path, quote(n)+" "+err.Error(), "write it as in 250ms, 30s, 1h30m or 7d")
		case v < least:
			d.add(n, path, quote(n)+" is too short", "", formatDuration(least)+" or more")
		default:
			*dst = v
		}
	}
}

func (d *decoder) size(dst *int64) field {
	return func(path string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" && n.ShortTag() != "!!int" {
			d.wrongType(path, n, "a size", "as in 64KiB or 1MiB")
			return
		}
		s, ok := d.expand(path, n)
		if !ok {
			return
		}
		v, err := parseSize(s)
		if err != nil {
			d.add(n, path, quote(n)+" "+err.Error(), "write it as in 64KiB or 1MiB", "B", "KB", "MB", "GB", "KiB", "MiB", "GiB")
			return
		}
		*dst = v
	}
}

// enum reads one of a closed set of words; set gets its index.
func (d *decoder) enum(words []string, set func(int)) field {
	return func(path string, n *yaml.Node) {
		s, ok := d.text(path, n)
		if !ok {
			return
		}
		i := slices.Index(words, s)
		if i < 0 {
			d.add(n, path, quote(n)+" is not a value of this setting", didYouMean(s, words), words...)
			return
		}
		set(i)
	}
}

// strings reads a list of strings without repeats; each is checked and may be rewritten.
func (d *decoder) strings(dst *[]string, check func(string) (s, message, hint string)) field {
	return func(path string, n *yaml.Node) {
		var all []string
		d.list(path, n, func(at string, n *yaml.Node) {
			s, ok := d.text(at, n)
			if !ok {
				return
			}
			s, message, hint := check(s)
			if message == "" && slices.Contains(all, s) {
				message = "is listed twice"
			}
			if message != "" {
				d.add(n, at, message, hint)
				return
			}
			all = append(all, s)
		})
		*dst = all
	}
}

// statuses reads a list of HTTP statuses without repeats, and sorts it.
func (d *decoder) statuses(dst *[]int) field {
	return func(path string, n *yaml.Node) {
		var all []int
		d.list(path, n, func(at string, n *yaml.Node) {
			status := 0
			d.integer(&status, 100, 599)(at, n)
			switch {
			case status == 0:
			case slices.Contains(all, status):
				d.add(n, at, strconv.Itoa(status)+" is listed twice", "")
			default:
				all = append(all, status)
			}
		})
		slices.Sort(all)
		*dst = all
	}
}

// prefixes reads a list of addresses and networks. IPv4 networks in IPv6 notation become IPv4.
func (d *decoder) prefixes(dst *[]netip.Prefix) field {
	return func(path string, n *yaml.Node) {
		var all []netip.Prefix
		d.list(path, n, func(at string, n *yaml.Node) {
			s, ok := d.text(at, n)
			if !ok {
				return
			}
			p, err := parsePrefix(s)
			if err != nil {
				d.add(n, at, quote(n)+" is neither an IP address nor a network", "write it as in 10.0.0.0/8 or ::1")
				return
			}
			if p.Masked() != p {
				d.add(n, at, quote(n)+" has bits beyond its length", "did you mean "+p.Masked().String()+"?")
				return
			}
			all = append(all, p)
		})
		*dst = all
	}
}

func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, err
}

// header reads the name of a field, checked further by refuse, in canonical case.
func (d *decoder) header(dst *string, refuse func(string) (message, hint string)) field {
	return d.checked(dst, func(s string) (message, hint string) {
		if message, hint = checkToken(s); message == "" {
			message, hint = refuse(textproto.CanonicalMIMEHeaderKey(s))
		}
		return message, hint
	})
}

// checkToken checks the grammar of RFC 9110, section 5.6.2.
func checkToken(s string) (message, hint string) {
	if s == "" {
		return "is empty", ""
	}
	if !httpguts.ValidHeaderFieldName(s) {
		return "contains a character that names of headers and methods cannot have", "use letters, digits and -"
	}
	return "", ""
}

// checkName checks what we call things by: in messages, metrics and paths.
func checkName(s string) (message, hint string) {
	if s == "" {
		return "is empty", ""
	}
	if len(s) > 64 {
		return "is longer than 64 bytes", ""
	}
	for i := range len(s) {
		if c := s[i]; !isUnreserved(c) && c != '@' || c == '~' {
			return "contains a character that a name cannot have", "use letters, digits and . _ - @"
		}
	}
	return "", ""
}

// parseHash reads "sha256:" and 64 hexadecimal digits.
func parseHash(s string) (hash [32]byte, ok bool) {
	digits, found := strings.CutPrefix(s, "sha256:")
	if !found || len(digits) != 2*len(hash) {
		return hash, false
	}
	_, err := hex.Decode(hash[:], []byte(digits))
	return hash, err == nil
}
