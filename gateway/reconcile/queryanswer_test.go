package reconcile

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/onceway/onceway/idempotency"
)

// The answer to a query counts the bodies that it is going to show, and reads them one by one.
func TestQueryReadsBodiesInTurn(t *testing.T) {
	for withBody, want := range map[bool]int64{false: 0, true: 3000} {
		a := queryAnswer{withBody: withBody, shown: func(rec idempotency.Record) idempotency.Record { return rec }}
		for i := range 3 {
			light := idempotency.NewResponse(200, nil, make([]byte, 1000))
			light.Body = nil
			a.add(idempotency.Record{ID: idempotency.OperationID{byte(i)}, State: idempotency.Completed, Response: light}, "k")
		}
		if n := a.length(); n != want {
			t.Errorf("%d bytes, want %d", n, want)
		}
		w, reads := httptest.NewRecorder(), 0
		err := a.write(w, func(id idempotency.OperationID) (idempotency.Record, error) {
			reads++
			return idempotency.Record{ID: id, State: idempotency.Completed, Response: idempotency.NewResponse(200, nil, make([]byte, 1000))}, nil
		})
		var out Records
		if bad := json.Unmarshal(w.Body.Bytes(), &out); err != nil || bad != nil || len(out.Records) != 3 || out.Unseen == nil || int64(reads)*1000 != want {
			t.Fatalf("%v, %v, %d reads: %s", err, bad, reads, w.Body)
		}
	}
}
