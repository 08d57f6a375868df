package simulator

import (
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// observation is a record that a gateway showed to somebody who asked between begin and end.
type observation struct {
	ex         *exchange
	begin, end time.Time
	record     idempotency.Record
	gateway    string // that showed it
	spooled    bool   // it had the answer in its spool
}

// history is all that anybody was shown.
type history struct {
	mu  sync.Mutex
	all map[*operation][]observation
}

// look is a question that is under way.
type look struct {
	h     *history
	ex    *exchange
	g     string
	disk  *disk // of the gateway; nil without a spool
	begin time.Time
}

func (h *history) look(ex *exchange, gateway string, d *disk) look {
	return look{h, ex, gateway, d, time.Now()}
}

func (l look) saw(r idempotency.Record) {
	spooled := l.disk != nil && l.disk.holds(l.ex.op.id)
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if l.h.all == nil {
		l.h.all = map[*operation][]observation{}
	}
	l.h.all[l.ex.op] = append(l.h.all[l.ex.op], observation{l.ex, l.begin, time.Now(), r, l.g, spooled})
}
