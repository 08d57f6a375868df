package sqlite_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/sqlite"
)

// write claims and completes batches of operations for ever, and prints each move once it is confirmed.
func write(path string) {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, path, sqlite.Options{})
	if err != nil {
		panic(err)
	}
	owner, err := s.Acquire(ctx, idempotency.Instance{ID: [16]byte{1}}, 0)
	if err != nil {
		panic(err)
	}
	keep := idempotency.Retention{Response: time.Hour, Key: time.Hour}
	for serial := 0; ; {
		claims := make([]idempotency.Transition, 1+serial%17)
		completes := make([]idempotency.Transition, len(claims))
		for i := range claims {
			serial++
			o := idempotency.Operation{Caller: "caller", Key: idempotency.Key(fmt.Sprintf("%d-%d", owner.Epoch, serial))}
			a := idempotency.Attempt{Operation: o.ID(), ID: idempotency.NewAttemptID(), Owner: owner}
			claims[i] = idempotency.Claim{
				Attempt: a, Operation: o, Fingerprint: idempotency.Fingerprint{Version: 1}, Budget: time.Hour, Retention: keep,
			}
			a.N = 1
			completes[i] = idempotency.Complete{Attempt: a, Response: idempotency.NewResponse(200, nil, answer(o.ID())), Retention: keep}
		}
		confirm(ctx, s, "claimed", claims)
		confirm(ctx, s, "completed", completes)
	}
}

func confirm(ctx context.Context, s *sqlite.Store, word string, ts []idempotency.Transition) {
	results, err := s.Apply(ctx, ts)
	if err != nil {
		panic(err)
	}
	var b strings.Builder
	for _, r := range results {
		if !r.Applied {
			panic("not applied")
		}
		fmt.Fprintf(&b, "%s %v\n", word, r.Record.ID)
	}
	_, _ = os.Stdout.WriteString(b.String())
}

func answer(id idempotency.OperationID) []byte { return []byte(strings.Repeat(id.String(), 50)) }

// What a process has seen confirmed is there after it was killed, whole; what it had not may be there
// or not, but whole as well.
func TestConfirmedMovesSurviveAKill(t *testing.T) {
	path := migrated(t)
	confirmed := map[idempotency.OperationID]string{}
	for range 10 {
		child, out := spawn(t, "write", path)
		for left := 50 + rand.IntN(400); left > 0 && out.Scan(); left-- {
			note(confirmed, out.Text())
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for out.Scan() { // what it had printed before it died; the last line may be cut
			note(confirmed, out.Text())
		}
		_ = child.Wait()
		check(t, path, confirmed)
	}
	if len(confirmed) < 500 {
		t.Errorf("only %d operations: the test has lost its grip", len(confirmed))
	}
}

func note(confirmed map[idempotency.OperationID]string, line string) {
	word, id, _ := strings.Cut(line, " ")
	if parsed, err := idempotency.ParseOperationID(id); err == nil && (word == "claimed" || word == "completed") {
		confirmed[parsed] = word
	}
}

func check(t *testing.T, path string, confirmed map[idempotency.OperationID]string) {
	t.Helper()
	s := open(t, path, sqlite.Options{})
	ids := make([]idempotency.OperationID, 0, len(confirmed))
	for id := range confirmed {
		ids = append(ids, id)
	}
	records, err := s.Find(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		switch {
		case r.State == idempotency.Unseen || r.Damaged:
			t.Fatalf("%v, confirmed as %s, is %v, damaged %v", ids[i], confirmed[ids[i]], r.State, r.Damaged)
		case r.State == idempotency.Completed && string(r.Response.Body) != string(answer(ids[i])):
			t.Fatalf("%v has another's answer", ids[i])
		case r.State != idempotency.Completed && confirmed[ids[i]] == "completed":
			t.Fatalf("%v was confirmed as completed and is %v", ids[i], r.State)
		case r.State == idempotency.Executing:
			t.Fatalf("%v is executing, and its process is dead", ids[i])
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var verdict string
	if err := rawFile(t, path).QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
		t.Fatalf("integrity check: %s, %v", verdict, err)
	}
}
