package idempotency_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/onceway/onceway/idempotency"
)

func TestParseKey(t *testing.T) {
	long := strings.Repeat("k", 255)
	for field, want := range map[string]string{
		"a":                                    "a",
		"8e03978e-40d5-43dd-bc93-6894a57f9324": "8e03978e-40d5-43dd-bc93-6894a57f9324",
		"AZaz09-._~:+/=@":                      "AZaz09-._~:+/=@",
		" \ta\t ":                              "a",
		`"a"`:                                  "a",
		`  "a"  `:                              "a",
		`"!#$%&'()*,;<>?[]^{|}` + "`" + `"`:    "!#$%&'()*,;<>?[]^{|}`",
		`"a\"b\\c"`:                            `a"b\c`,
		`"..."`:                                "...",
		"...":                                  "...",
		long:                                   long,
		`"` + long + `"`:                       long,
		`"` + strings.Repeat(`\"`, 255) + `"`:  strings.Repeat(`"`, 255),
	} {
		if got, err := idempotency.ParseKey(field); err != nil || string(got) != want {
			t.Errorf("ParseKey(%q) = %q, %v", field, got, err)
		}
	}
	for _, field := range []string{
		"", " ", "\t", `""`, `" "`, `"a b"`, "a b", ".", "..", `"."`, `".."`,
		"a,b", "a, b", `"a", "b"`, "a;p=1", `"a";p=1`, `"a" ;p`, `"a"b`, `"a`, `a"`, `"`, `"\"`, `"a\n"`, `"a\`, `"a\b"`,
		"a\nb", "a\x00", "a\x7f", "ä", `"ä"`, "\"a\x7f\"", "\"a\tb\"", "\u00a0a", "a\x80", `'a'`, "{a}", "a%20b", ":a:b\u212a",
		long + "k", `"` + long + `k"`, "?1", "a*",
	} {
		got, err := idempotency.ParseKey(field)
		var malformed *idempotency.KeyError
		if !errors.As(err, &malformed) || got != "" {
			t.Errorf("ParseKey(%q) = %q, %v; want a KeyError", field, got, err)
		} else if len(field) > 8 && strings.Contains(err.Error(), field) {
			t.Errorf("the error contains the value: %v", err)
		}
	}
}

func TestKeyDates(t *testing.T) {
	rfc := time.UnixMilli(1645557742000).UTC() // RFC 9562, appendix A.6
	for _, c := range []struct {
		key          string
		uuid7, ulids bool
		at           time.Time
	}{
		{"017f22e2-79b0-7cc3-98c4-dc0c0c07398f", true, true, rfc},
		{"017F22E2-79B0-7CC3-98C4-DC0C0C07398F", true, true, rfc},
		{"017f22e2-79b0-7cc3-88c4-dc0c0c07398f", true, true, rfc},
		{"017f22e2-79b0-7cc3-b8c4-dc0c0c07398f", true, true, rfc},
		{"ffffffff-ffff-7fff-bfff-ffffffffffff", true, true, time.UnixMilli(1<<48 - 1).UTC()},
		{"00000000-0000-7000-8000-000000000000", true, true, time.UnixMilli(0).UTC()},
		{"017f22e2-79b0-4cc3-98c4-dc0c0c07398f", false, false, time.Time{}}, // version 4
		{"017f22e2-79b0-8cc3-98c4-dc0c0c07398f", false, false, time.Time{}}, // version 8
		{"017f22e2-79b0-7cc3-18c4-dc0c0c07398f", false, false, time.Time{}}, // another variant
		{"017f22e2-79b0-7cc3-c8c4-dc0c0c07398f", false, false, time.Time{}},
		{"017f22e279b07cc398c4dc0c0c07398f", false, false, time.Time{}},
		{"{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}", false, false, time.Time{}},
		{"017f22e2-79b0-7cc3-98c4-dc0c0c07398g", false, false, time.Time{}},
		{"01ARZ3NDEKTSV4RRFFQ69G5FAV", false, true, time.UnixMilli(1469922850259).UTC()},
		{"01arz3ndektsv4rrffq69g5fav", false, true, time.UnixMilli(1469922850259).UTC()},
		{"7ZZZZZZZZZZZZZZZZZZZZZZZZZ", false, true, time.UnixMilli(1<<48 - 1).UTC()},
		{"8ZZZZZZZZZZZZZZZZZZZZZZZZZ", false, false, time.Time{}}, // more than 128 bits
		{"01ARZ3NDEKTSV4RRFFQ69G5FAU", false, false, time.Time{}}, // U is no digit
		{"01ARZ3NDEKTSV4RRFFQ69G5FAI", false, false, time.Time{}},
		{"01ARZ3NDEKTSV4RRFFQ69G5FA", false, false, time.Time{}},
		{"order-1", false, false, time.Time{}},
	} {
		key := idempotency.Key(c.key)
		for scheme, want := range map[idempotency.KeyDate]bool{
			idempotency.DateUUIDv7: c.uuid7, idempotency.DateULID: c.ulids, idempotency.DateNone: false,
		} {
			at, ok := key.Date(scheme)
			if ok != want || ok && !at.Equal(c.at) {
				t.Errorf("%s, scheme %d: %v, %v", c.key, scheme, at, ok)
			}
		}
	}
}

// quote spells a key as a structured-field string (RFC 9651, section 4.1.6).
func quote(k idempotency.Key) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(k)) + `"`
}

// FuzzParseKey compares with an independent parser of structured fields, and both spellings with
// each other.
func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{"a", `"a"`, `"a\"\\"`, `"a";b`, `"a", "b"`, "", " a ", `"`, `"\`, "a\x00", strings.Repeat("k", 256), "..", `"ü"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		key, err := idempotency.ParseKey(field)
		if trimmed := strings.Trim(field, " \t"); strings.HasPrefix(trimmed, `"`) {
			item, sfErr := httpsfv.UnmarshalItem([]string{trimmed})
			value, isString := item.Value.(string)
			want := sfErr == nil && isString && len(item.Params.Names()) == 0 && strings.HasSuffix(trimmed, `"`) &&
				len(value) >= 1 && len(value) <= 255 && !strings.Contains(value, " ") && value != "." && value != ".."
			if want != (err == nil) || want && string(key) != value {
				t.Fatalf("%q: %q, %v; another parser says %q, %v", field, key, err, value, sfErr)
			}
		}
		if err != nil {
			var malformed *idempotency.KeyError
			if !errors.As(err, &malformed) || key != "" {
				t.Fatalf("%q: %q, %v", field, key, err)
			}
			return
		}
		if again, err := idempotency.ParseKey(quote(key)); err != nil || again != key {
			t.Fatalf("%q, spelled %s, is %q, %v", key, quote(key), again, err)
		}
		if again, err := idempotency.NewKey(string(key)); err != nil || again != key {
			t.Fatalf("%q as a bare value is %q, %v", key, again, err)
		}
		// What may be spelled bare is the same key so. What begins with a quote may not: it is another's spelling.
		if bare, err := idempotency.ParseKey(string(key)); err == nil && bare != key && key[0] != '"' {
			t.Fatalf("%q spelled bare is %q", key, bare)
		}
		key.Date(idempotency.DateULID)
	})
}
