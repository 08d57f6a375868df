package idempotency_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"os"
	"testing"

	"github.com/onceway/onceway/idempotency"
)

// operations.json is for implementations in other languages: caller and key (as UTF-8) and the id.
func TestOperationIDs(t *testing.T) {
	text, err := os.ReadFile("testdata/operations.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Operations []struct{ Caller, Key, ID string }
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Operations) < 8 {
		t.Fatal("test vectors are missing")
	}
	seen := map[string]bool{}
	for _, v := range vectors.Operations {
		id := idempotency.Operation{Caller: idempotency.Caller(v.Caller), Key: idempotency.Key(v.Key)}.ID()
		if id.String() != v.ID {
			t.Errorf("caller %q, key %q: %v, want %s", v.Caller, v.Key, id, v.ID)
		}
		if again, err := idempotency.ParseOperationID(v.ID); err != nil || again != id {
			t.Errorf("%s read again is %v, %v", v.ID, again, err)
		}
		if v.ID[14] != '8' || !bytes.ContainsRune([]byte("89ab"), rune(v.ID[19])) || seen[v.ID] {
			t.Errorf("%s is not a UUIDv8, or not unique", v.ID)
		}
		seen[v.ID] = true
	}
	for _, malformed := range []string{"", "x", "017f22e2-79b0-7cc3-98c4-dc0c0c07398", "017f22e279b07cc398c4dc0c0c07398f", "017f22e2-79b0-7cc3-98c4_dc0c0c07398f", "017f22e2-79b0-7cc3-98c4-dc0c0c07398g"} {
		if id, err := idempotency.ParseOperationID(malformed); err == nil {
			t.Errorf("%q was read as %v", malformed, id)
		}
	}
}

// preimage is what the id hashes, written down a second time.
func preimage(caller, key string) []byte {
	var b bytes.Buffer
	for _, part := range []string{caller, key} {
		_ = binary.Write(&b, binary.BigEndian, uint64(len(part)))
		b.WriteString(part)
	}
	return b.Bytes()
}

// FuzzOperationID: no two pairs are hashed as the same bytes, and the id is that hash's.
func FuzzOperationID(f *testing.F) {
	f.Add("a", "b", "ab", "")
	f.Add("", "\x00\x00\x00\x00\x00\x00\x00\x00", "", "")
	f.Add("caller", "key", "calle", "rkey")
	f.Fuzz(func(t *testing.T, caller, key, otherCaller, otherKey string) {
		one, other := preimage(caller, key), preimage(otherCaller, otherKey)
		same := caller == otherCaller && key == otherKey
		if bytes.Equal(one, other) != same {
			t.Fatalf("(%q, %q) and (%q, %q) are framed alike", caller, key, otherCaller, otherKey)
		}
		want := sha256.Sum256(one)
		want[6], want[8] = want[6]&0x0f|0x80, want[8]&0x3f|0x80
		id := idempotency.Operation{Caller: idempotency.Caller(caller), Key: idempotency.Key(key)}.ID()
		if id != idempotency.OperationID(want[:16]) {
			t.Fatalf("id of (%q, %q) is not that of its framing", caller, key)
		}
		if o := (idempotency.Operation{Caller: idempotency.Caller(otherCaller), Key: idempotency.Key(otherKey)}); (o.ID() == id) != same {
			t.Fatalf("(%q, %q) and (%q, %q) have the same id", caller, key, otherCaller, otherKey)
		}
	})
}
