package gateway

import (
	"crypto/sha256"
	"net/http"
	"testing"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/upstream"
)

func TestBudget(t *testing.T) {
	b := &budget{limit: 800}
	if b.takeRequest(801, 0) || !b.takeRequest(800, 0) {
		t.Error("a request alone may take all of it, and no more")
	}
	b.Give(800)
	if !b.takeRequest(400, 0) || !b.takeRequest(300, 0) || b.takeRequest(1, 0) {
		t.Error("requests leave an eighth to answers")
	}
	if !b.Take(100) || b.Take(1) {
		t.Error("answers may take that eighth")
	}
	if b.Overdraw(50); b.used.Load() != 850 {
		t.Error("what goes over the budget counts")
	}
	if b.Give(850); b.used.Load() != 0 {
		t.Error("not everything was given back")
	}
}

// An answer that is in memory only to be recorded is recorded whole, and sent from its file.
func TestAnswerOfBoth(t *testing.T) {
	body := []byte("hello")
	a := upstream.Answered{Status: 201, Header: http.Header{}, Body: body, Spill: new(upstream.Spill), Length: 5, Digest: sha256.Sum256(body)}
	s := settle(a, &config.Idempotency{}, 1)
	if s.move != complete || !s.response.Replayable || string(s.response.Body) != "hello" {
		t.Errorf("it would be recorded as %+v", s.response)
	}
	if s.live.body != nil || s.live.from.Body != nil || s.live.spill == nil {
		t.Error("its first caller would keep it in memory")
	}
}
