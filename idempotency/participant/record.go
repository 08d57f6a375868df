package participant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/onceway/onceway/idempotency"
)

// Record records the answer of an attempt in the transaction that has claimed it. Send the answer only
// after the commit.
//
// It refuses an answer whose status tells the gateway that nothing was executed (see [Declines]), and one
// that HTTP or the envelope of a probe could not carry. Fields of one connection or of one moment are
// left out.
func (t *Table[Tx]) Record(ctx context.Context, tx Tx, a Attempt, response *idempotency.Response) error {
	if err := a.check(); err != nil {
		return err
	}
	if Declines(response.Status) {
		return fmt.Errorf("record: an operation that is executed cannot be answered with %d, which says that it is not", response.Status)
	}
	kept := idempotency.NewResponse(response.Status, lasting(response.Header), response.Body)
	if err := kept.Check(); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	headers, err := json.Marshal(kept.Header)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	body := kept.Body
	if body == nil {
		body = []byte{} // nil is NULL
	}
	changed, err := t.driver.exec(ctx, tx, t.sql.record, a.Operation.String(), a.N, kept.Status, string(headers), body)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if changed != 1 {
		return errors.New("record: this transaction has not claimed the attempt")
	}
	return nil
}

// Declines reports whether a gateway takes an answer of that status, by its default
// not_executed_statuses, for the word that the attempt had no effect.
func Declines(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return false
}

// passing are the fields of one connection or of one moment: those that a gateway does not store either,
// as far as they are the same everywhere.
var passing = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Content-Length": true, "Date": true, "Age": true, "Set-Cookie": true,
	"Www-Authenticate": true, "Server-Timing": true,
}

// lasting returns the fields that a repeated answer may have, with canonical names.
func lasting(h map[string][]string) map[string][]string {
	kept := make(map[string][]string, len(h))
	for name, values := range h {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if passing[name] || strings.HasPrefix(name, "Onceway-") || len(values) == 0 {
			continue
		}
		kept[name] = append(kept[name], values...)
	}
	return kept
}
