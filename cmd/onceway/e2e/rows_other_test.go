//go:build !linux

package e2e

// kernelRows are half-established connections and full queues, which Linux alone lets a test make.
var kernelRows []row
