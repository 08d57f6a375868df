package rig

import "time"

// poll is the pace of looks at what will happen some time: quick at first, then slower, because most looks cost
// a process that has better things to do with its cores, and a wait may be for a lease of seconds.
type poll struct{ pause time.Duration }

func newPoll() *poll { return &poll{5 * time.Millisecond} }

// next returns a channel that is heard from when it is time for the next look.
func (p *poll) next() <-chan time.Time {
	c := time.After(p.pause)
	p.pause = min(p.pause*5/4, 40*time.Millisecond)
	return c
}
