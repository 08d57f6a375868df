package chaos

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// fault is a kind of fault. It is a closed set.
type fault string

const (
	kill          fault = "kill"          // SIGKILL, and started again
	pause         fault = "pause"         // SIGSTOP, also longer than the lease, and SIGCONT
	drain         fault = "drain"         // SIGTERM, and started again
	storeRestart  fault = "store restart" // Postgres stops at once and recovers
	sessionsEnded fault = "sessions"      // every session is terminated
	storeCut      fault = "store cut"     // the gateway's connections to the store end
	storeHole     fault = "store hole"    // nothing passes to or from the store for a while; then it arrives
	backendCut    fault = "backend cut"
	backendHole   fault = "backend hole"
	clientCut     fault = "client cut"
	clientHole    fault = "client hole"
)

var (
	ofProcesses = []fault{kill, pause, drain, storeRestart}
	ofLinks     = []fault{sessionsEnded, storeCut, storeHole, backendCut, backendHole, clientCut, clientHole}
	everyFault  = slices.Concat(ofProcesses, ofLinks)
)

// lease is that of the gateways: short, so that pauses outlast it.
const lease = 2 * time.Second

// step is one fault of a schedule. Gap, lasts and rst are parameters, whether the fault needs them or not.
type step struct {
	fault   fault
	gateway int           // 0 or 1; of those that strike one
	gap     time.Duration // before it
	lasts   time.Duration
	rst     bool
}

// schedule gives the same steps for the same seed, without end: every kind once in a round.
type schedule struct {
	random *rand.Rand
	kinds  []fault
	gap    time.Duration // at most
	round  []fault
}

func newSchedule(seed, stream uint64, kinds []fault, gap time.Duration) *schedule {
	return &schedule{random: rand.New(rand.NewPCG(seed, stream)), kinds: kinds, gap: gap}
}

func (s *schedule) next() step {
	if len(s.round) == 0 {
		s.round = slices.Clone(s.kinds)
		s.random.Shuffle(len(s.round), func(i, j int) { s.round[i], s.round[j] = s.round[j], s.round[i] })
	}
	n := step{fault: s.round[0], gateway: s.random.IntN(2), gap: time.Duration(s.random.Int64N(int64(s.gap))), rst: s.random.IntN(2) == 0}
	s.round = s.round[1:]
	longest := lease * 3 / 4
	if s.random.IntN(3) == 0 {
		longest = lease * 7 / 4
	}
	n.lasts = time.Duration(s.random.Int64N(int64(longest)))
	return n
}

func TestScheduleRepeats(t *testing.T) {
	a, b := newSchedule(7, 1, everyFault, time.Second), newSchedule(7, 1, everyFault, time.Second)
	other, different := newSchedule(8, 1, everyFault, time.Second), false
	met := map[fault]bool{}
	for range 3 * len(everyFault) {
		x, y := a.next(), b.next()
		if x != y {
			t.Fatalf("%+v, then %+v", x, y)
		}
		met[x.fault] = true
		different = different || x != other.next()
	}
	if !different || len(met) != len(everyFault) {
		t.Errorf("other seeds differ: %v; %d kinds of %d", different, len(met), len(everyFault))
	}
}
