// Package idempotency is the core of Onceway: it decides, records and settles each operation once.
//
// An operation is what one caller means by one idempotency key. Its record moves along a small table
// of legal moves (see [Next]), and every move is one conditional write of a [Store]. The package
// promises:
//
//   - an attempt is granted to one claimant only, and only after its claim is durable;
//   - a final answer, once shown, is the answer for ever, until it is forgotten;
//   - what nobody can know is called [Unknown]; it is never turned into a guess.
//
// It does not promise more than the backend allows: a backend that offers nothing gets at-most-once
// execution, not exactly-once effect. docs/guarantee.md has the whole table.
//
// The package knows neither HTTP nor SQL. It imports the standard library only.
package idempotency
