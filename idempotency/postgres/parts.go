package postgres

import (
	"iter"

	"github.com/onceway/onceway/idempotency"
)

// maxPart bounds the bodies in one statement, in bytes: the server keeps its arguments in memory, and
// takes no more than 1 GiB of them.
const maxPart = 16 << 20

// parts cuts a batch into pieces of at most maxPart bytes of bodies, each at least one transition long.
// No piece is empty.
func parts[T any](ts []T, response func(T) *idempotency.Response) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		start, size := 0, 0
		for i, t := range ts {
			n := 0
			if r := response(t); r != nil {
				n = len(r.Body)
			}
			if i > start && size+n > maxPart {
				if !yield(ts[start:i:i]) {
					return
				}
				start, size = i, 0
			}
			size += n
		}
		if start < len(ts) {
			yield(ts[start:])
		}
	}
}
