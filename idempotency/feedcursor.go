package idempotency

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"
)

// ErrCursorExpired says that a cursor of the feed cannot be gone on from: it is older than what the store
// keeps, or of another history of it, or of another caller, filter or store, or none at all. Whoever has it
// must begin at the start.
var ErrCursorExpired = errors.New("the cursor cannot be gone on from")

// position is what a cursor says.
type position struct {
	history FeedHistory
	place   Place
	// listed is the last commit of the list from the start that the reader began with. Of what changed later
	// he hears also when it has left the states that he asked for.
	listed uint64
	issued time.Time // in seconds
}

const (
	cursorVersion = 1
	cursorLength  = 1 + len(FeedHistory{}) + 8 + len(OperationID{}) + 8 + 8
	macLength     = 16
)

// cursor writes a position down for one caller and the states that he asks for. It can be read by the gateways
// of the same store only, and cannot be changed or used for anything else.
func (p position) cursor(secret []byte, caller Caller, states StateSet) string {
	b := make([]byte, 0, cursorLength+macLength)
	b = append(b, cursorVersion)
	b = append(b, p.history[:]...)
	b = binary.BigEndian.AppendUint64(b, p.place.Commit)
	b = append(b, p.place.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, p.listed)
	b = binary.BigEndian.AppendUint64(b, uint64(p.issued.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(b, cursorMAC(secret, b, caller, states)...))
}

// parseCursor reads a cursor, and says whether it is one of this store, caller and states.
func parseCursor(text string, secret []byte, caller Caller, states StateSet) (p position, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != cursorLength+macLength || b[0] != cursorVersion {
		return p, false
	}
	b, mac := b[:cursorLength], b[cursorLength:]
	if !hmac.Equal(mac, cursorMAC(secret, b, caller, states)) {
		return p, false
	}
	b = b[1:]
	b = b[copy(p.history[:], b):]
	p.place.Commit, b = binary.BigEndian.Uint64(b), b[8:]
	b = b[copy(p.place.ID[:], b):]
	p.listed, b = binary.BigEndian.Uint64(b), b[8:]
	p.issued = time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	return p, true
}

func cursorMAC(secret, b []byte, caller Caller, states StateSet) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("onceway feed cursor\x00"))
	h.Write(b)
	h.Write(binary.BigEndian.AppendUint16(nil, uint16(states)))
	h.Write([]byte(caller))
	return h.Sum(nil)[:macLength]
}

// feedSecret is the store's secret, once it has been asked for.
type feedSecret struct {
	store FeedStore
	known atomic.Pointer[[]byte]
}

// get returns the secret. It asks the store if it has not before, or if fresh, because the store may be
// another one by now.
func (s *feedSecret) get(ctx context.Context, fresh bool) ([]byte, error) {
	if known := s.known.Load(); known != nil && !fresh {
		return *known, nil
	}
	secret, err := s.store.FeedSecret(ctx)
	if err != nil {
		return nil, err
	}
	s.known.Store(&secret)
	return secret, nil
}
