package simulator

import (
	"fmt"
	"strings"
	"sync"
)

// window is how far a request has come when a fault hits it.
type window int

const (
	beforeClaim window = iota // the claim is not confirmed
	claimed                   // the claim is confirmed, and no byte was sent
	dispatched                // bytes may be on the wire, and no answer is here
	answered                  // it is known here what became of it, and not confirmed by the store
	recorded                  // the outcome is confirmed, and the client does not have it
	windows
)

var windowNames = [windows]string{"before claim", "claimed", "dispatched", "answered", "recorded"}

// fault is what can go wrong, by its name in the table that a run prints.
type fault string

const (
	gatewayCrashes fault = "gateway crashes"
	gatewayPauses  fault = "gateway pauses"
	pausesLong     fault = "gateway pauses longer than its lease"
	storeRestarts  fault = "store restarts"
	clientLeaves   fault = "client leaves"
	requestTwice   fault = "request duplicated or late"
	lostBefore     fault = "statement lost"
	lostAfter      fault = "statement written, reply lost"
	blackHole      fault = "statement swallowed"
	writtenLate    fault = "statement written late"
	refused        fault = "statement refused"
	blocked        fault = "statement blocked"
	notReached     fault = "backend not reached"
	sendingLost    fault = "sending lost"
	sendingLate    fault = "sending late"
	diesBefore     fault = "backend dies before the effect"
	diesAfter      fault = "backend dies after the effect"
	answersLate    fault = "backend answers late"
	answerCut      fault = "answer cut"
	answerLost     fault = "answer lost"
	saysNo         fault = "backend refuses"
	saysUnknown    fault = "backend says 503"
	spooled        fault = "outcome kept in the spool"
	spoolRefuses   fault = "spool refuses"
)

// reach are the windows that each fault must be seen in: a window that is never visited proves nothing.
var reach = []struct {
	fault fault
	in    []window
}{
	{gatewayCrashes, everyWindow}, {gatewayPauses, everyWindow}, {pausesLong, everyWindow}, {storeRestarts, everyWindow},
	{clientLeaves, everyWindow}, {requestTwice, everyWindow},
	{lostBefore, statements}, {lostAfter, statements}, {blackHole, statements}, {writtenLate, statements},
	{refused, statements}, {blocked, statements},
	{notReached, onTheWire}, {sendingLost, onTheWire}, {sendingLate, onTheWire}, {diesBefore, onTheWire}, {diesAfter, onTheWire},
	{answersLate, onTheWire}, {answerCut, onTheWire}, {answerLost, onTheWire}, {saysNo, onTheWire}, {saysUnknown, onTheWire},
	{spooled, atTheEnd}, {spoolRefuses, atTheEnd},
}

var (
	everyWindow = []window{beforeClaim, claimed, dispatched, answered, recorded}
	statements  = []window{beforeClaim, answered}
	onTheWire   = []window{dispatched}
	atTheEnd    = []window{answered}
)

// Visits counts how often each fault hit a request in each window.
type Visits struct {
	mu sync.Mutex
	n  map[fault]*[windows]int
}

func (v *Visits) add(f fault, w window, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.n == nil {
		v.n = map[fault]*[windows]int{}
	}
	if v.n[f] == nil {
		v.n[f] = new([windows]int)
	}
	v.n[f][w] += n
}

// Add adds what another run counted.
func (v *Visits) Add(o *Visits) {
	for f, row := range o.n {
		for w, n := range row {
			v.add(f, window(w), n)
		}
	}
}

// Missing names each fault with a window that it has to hit and never did.
func (v *Visits) Missing() (missing []string) {
	for _, r := range reach {
		for _, w := range r.in {
			if row := v.n[r.fault]; row == nil || row[w] == 0 {
				missing = append(missing, fmt.Sprintf("%s, %s", r.fault, windowNames[w]))
			}
		}
	}
	return missing
}

// String is the table: a row for each fault, a column for each window, a dot where it cannot be.
func (v *Visits) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-38s", "fault")
	for _, name := range windowNames {
		fmt.Fprintf(&b, " %12s", name)
	}
	for _, r := range reach {
		fmt.Fprintf(&b, "\n%-38s", r.fault)
		for w := range windows {
			cell := "."
			for _, in := range r.in {
				if in == w {
					cell = "0"
					if row := v.n[r.fault]; row != nil {
						cell = fmt.Sprint(row[w])
					}
				}
			}
			fmt.Fprintf(&b, " %12s", cell)
		}
	}
	return b.String()
}
