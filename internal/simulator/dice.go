package simulator

import "time"

// dice are all chance of a world. A draw depends on the seed and on who asks about what, never on who
// asked before.
type dice uint64

// of returns the stream of numbers of one asker. It belongs to one goroutine.
func (d dice) of(who string, about ...uint64) *stream {
	h := mix(uint64(d) ^ 0xcbf29ce484222325)
	for i := range len(who) {
		h = (h ^ uint64(who[i])) * 0x100000001b3
	}
	for _, a := range about {
		h = mix(h ^ mix(a+0x9e3779b97f4a7c15))
	}
	return &stream{mix(h)}
}

// stream is SplitMix64.
type stream struct{ state uint64 }

func (s *stream) next() uint64 {
	s.state += 0x9e3779b97f4a7c15
	return mix(s.state)
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// n returns a number from 0 to below most.
func (s *stream) n(most int) int { return int(s.next() % uint64(most)) }

// oneIn is true once in n times.
func (s *stream) oneIn(n int) bool { return s.n(n) == 0 }

func (s *stream) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.next()%uint64(most-least))
}

// pick draws one of several, each as often as its weight says.
func pick[T any](s *stream, of []weighted[T]) T {
	sum := 0
	for _, w := range of {
		sum += w.weight
	}
	n := s.n(sum)
	for _, w := range of {
		if n -= w.weight; n < 0 {
			return w.what
		}
	}
	panic("unreachable")
}

type weighted[T any] struct {
	weight int
	what   T
}
