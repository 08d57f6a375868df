package e2e

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

func keyTooOldAnswers(t *testing.T, at *table) {
	old := time.Now().Add(-721 * time.Hour)
	for name, r := range map[string]rig.Request{
		"uuidv7":     {Key: uuidv7(old), Body: "a"},
		"ulid":       {Key: ulid(old), Path: "/ulid", Body: "a"},
		"first sent": {Key: newKey(), Body: "a", Header: rig.Header("Idempotency-First-Sent", old.Format(time.RFC3339))},
		"undated":    {Key: uuidv7(old), Path: "/undated", Body: "a", Header: rig.Header("Idempotency-First-Sent", old.Format(time.RFC3339))},
		"no date":    {Key: uuidv7(time.Now().Add(48 * time.Hour)), Body: "a", Header: rig.Header("Idempotency-First-Sent", old.Format(time.RFC3339))},
	} {
		a := at.g.Do(t, r)
		a.Is(t, keyTooOld)
		if a.Problem(t).ServerTime == "" && !strings.Contains(a.Problem(t).Detail, "our time") {
			t.Errorf("%s: our time is not in %s", name, a.Body)
		}
		wantUnseen(t, at.g, at.b, r.Key)
	}
	for name, r := range map[string]rig.Request{
		"young enough":    {Key: uuidv7(time.Now().Add(-719 * time.Hour)), Body: "a"},
		"future":          {Key: uuidv7(time.Now().Add(48 * time.Hour)), Body: "a"},
		"no dates here":   {Key: uuidv7(old), Path: "/undated", Body: "a"},
		"ulid not asked":  {Key: ulid(old), Body: "a"},
		"not version 7":   {Key: uuidv7(old)[:14] + "4" + uuidv7(old)[15:], Body: "a"},
		"sent just now":   {Key: newKey(), Body: "a", Header: rig.Header("Idempotency-First-Sent", time.Now().Format(time.RFC3339))},
		"the key decides": {Key: uuidv7(time.Now()), Body: "a", Header: rig.Header("Idempotency-First-Sent", old.Format(time.RFC3339))},
	} {
		if at.g.Do(t, r).Is(t, executed); t.Failed() {
			t.Fatal(name)
		}
	}
	// With a record, the record decides, however old the key says it is.
	r := rig.Request{Key: newKey(), Body: "a"}
	at.g.Do(t, r).Is(t, executed)
	r.Header = rig.Header("Idempotency-First-Sent", old.Format(time.RFC3339))
	at.g.Do(t, r).Is(t, replayed)
	throttled := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 429, NoEffect: true}}
	at.g.Do(t, throttled).Is(t, rig.Want{Status: 429, State: "not_executed", Next: "resend"})
	r = rig.Request{Key: throttled.Key, Body: "a", Header: r.Header}
	at.g.Do(t, r).Is(t, executed)
	at.g.Do(t, r).Is(t, replayed)
	wantState(t, at.g, r.Key, "completed", 2)
}

func deadlineAnswers(t *testing.T, at *table) {
	past := rig.Header("Idempotency-Deadline", time.Now().Add(-time.Minute).Format(time.RFC3339))
	r := rig.Request{Key: newKey(), Body: "a", Header: past}
	at.g.Do(t, r).Is(t, deadlinePassed)
	wantUnseen(t, at.g, at.b, r.Key)
	r.Header = rig.Header("Idempotency-Deadline", time.Now().Add(time.Hour).Format(time.RFC3339))
	at.g.Do(t, r).Is(t, executed)
	r.Header = past
	at.g.Do(t, r).Is(t, replayed) // a settled record is answered although the deadline has passed
	wantEffects(t, at.b, r.Key, 1)
}

func uuidv7(at time.Time) string {
	var b [16]byte
	rand.Read(b[:])
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(b[:6], ms[2:])
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func ulid(at time.Time) string {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	ms := at.UnixMilli()
	var b [26]byte
	for i := 9; i >= 0; i-- {
		b[i] = digits[ms&31]
		ms >>= 5
	}
	random := make([]byte, 16)
	rand.Read(random)
	for i := range random {
		b[10+i] = digits[random[i]&31]
	}
	return string(b[:])
}
