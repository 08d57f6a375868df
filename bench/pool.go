package main

import (
	"context"
	"fmt"
	"strings"
)

// choosePool measures the middleware with several pool sizes and returns the one with the best median:
// a peer that is badly set up proves nothing. The sizes take turns, as targets do.
func (f *farm) choosePool(ctx context.Context, sizes []int, rounds int, r *report) (int, error) {
	if _, err := f.postgres.create(ctx, "middleware"); err != nil {
		return 0, err
	}
	if len(sizes) == 1 {
		r.Peer = fmt.Sprintf("pool of %d connections, as told", sizes[0])
		return sizes[0], nil
	}
	rates := make([][]float64, len(sizes))
	for round := range rounds {
		for i, size := range sizes {
			rate, err := f.tryPool(ctx, size, round)
			if err != nil {
				return 0, err
			}
			rates[i] = append(rates[i], rate)
		}
	}
	best := 0
	tried := make([]string, len(sizes))
	for i, size := range sizes {
		tried[i] = fmt.Sprintf("%d: %.0f/s", size, median(rates[i]))
		if median(rates[i]) > median(rates[best]) {
			best = i
		}
	}
	r.Peer = fmt.Sprintf("pool of %d connections, the best at 64 clients of %s", sizes[best], strings.Join(tried, ", "))
	return sizes[best], nil
}

// tryPool returns the middleware's answers per second with one pool size.
func (f *farm) tryPool(ctx context.Context, size, round int) (float64, error) {
	t, err := f.start(ctx, usualMiddleware, size)
	if err != nil {
		return 0, err
	}
	f.targets[usualMiddleware] = t
	defer func() {
		t.stop()
		delete(f.targets, usualMiddleware)
	}()
	s, err := f.measure(ctx, cell{usualMiddleware, fresh, 64}, round)
	return s.Rate, err
}
