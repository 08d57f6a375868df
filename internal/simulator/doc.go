// Package simulator runs the real engine, committer and lease of Onceway in a world that it makes from
// a seed: gateways that crash, pause and restart, a store that loses, delays and refuses statements, a
// network that loses, delays and duplicates messages, a backend with a ledger, clients that retry,
// reconcile and cancel, and an operator. Time is virtual (testing/synctest).
//
// After a run the invariants of docs/guarantee.md are checked on the backend's ledger and on everything
// that anybody was shown. The same seed gives the same run: no draw depends on the order in which
// goroutines happen to be scheduled. That holds because every draw is a pure function of the seed and of
// who asks when, because no two events of the world share an instant but by a rare accident of nanoseconds, and
// because the core lets a [idempotency.Pacer] decide what is left.
//
// Limits: what stands between the engine and HTTP (dispatcher, classifier, spool) and what stands
// between the engine and a disk (the SQL of the stores) is simulated here, not run. The chaos run and
// each store's own tests are for that.
package simulator
