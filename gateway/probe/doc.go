// Package probe asks backends about operations in doubt, and records what their answers prove.
//
// It promises three things. What an answer proves is one pure function ([Prove]), and what it does not
// know proves nothing. A finding moves a record only if the record is still in doubt about the attempt
// that was asked about. And questions never stand in the way of requests: they have connections, slots
// and timeouts of their own, and a backend or a store that is away only makes them wait.
//
// Its limit is that of every observer from outside: that an operation was not found does not say that it
// will not be executed a moment later. Absence is believed only where the route's policy says so.
package probe
