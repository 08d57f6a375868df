package e2e

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

func digest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// What was changed in the store is never answered, and never executed again.
func TestDamagedRecordIsRefused(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		for column, value := range map[string]string{"body": "xorders of another", "fields": "\x01X\x01y", "seal": strings.Repeat("s", 32)} {
			r := rig.Request{Key: newKey(), Body: "a"}
			whole := rig.Request{Key: newKey(), Body: "a"}
			g.Do(t, r).Is(t, executed)
			g.Kill(t)
			damage(t, dsn, column, value)
			g.Start(t)
			for range 2 {
				g.Do(t, r).Is(t, damaged)
			}
			a := g.Get(t, recordPath(r.Key)+"/response")
			a.Is(t, damaged)
			if strings.Contains(a.Body, value) {
				t.Errorf("%s", a.Body)
			}
			wantEffects(t, b, r.Key, 1)
			g.Do(t, whole).Is(t, executed)
			g.Do(t, whole).Is(t, replayed)
		}
	})
}

// damage changes a column of every stored answer.
func damage(t *testing.T, dsn, column, value string) {
	t.Helper()
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("UPDATE payloads SET "+column+" = ?", []byte(value)); err != nil {
			t.Fatal(err)
		}
		return
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "UPDATE payloads SET "+column+" = $1", []byte(value)); err != nil {
		t.Fatal(err)
	}
}

// Bodies age before keys do: then the answer is forgotten, and the operation is not executed again.
func TestResponseIsForgottenByAge(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "retention: {response: 1s, key: 1h}"})
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, Body: ledger.Text("created")}}
		g.Do(t, r).Is(t, with(executed, 201))
		g.Until(t, "the body is forgotten", func() bool { return g.Get(t, recordPath(r.Key)).Record(t).State == "forgotten" })
		again := g.Do(t, r)
		again.Is(t, isForgotten)
		if known := again.Problem(t).Response; known == nil || known.Status != 201 || known.Digest != digest("created") {
			t.Errorf("what is known of the answer: %+v", known)
		}
		wantEffects(t, b, r.Key, 1)
	})
}
