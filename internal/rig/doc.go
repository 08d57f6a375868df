// Package rig runs the built gateway for end-to-end tests: it builds the binary once per test process,
// starts, stops and kills it with a given configuration and store, and speaks to it as clients do.
//
// It looks at the gateway from outside only. Waiting is for something to become true (readiness, the
// end of a process), never for time to pass. What a gateway has logged is shown when its test fails; a
// data race that its race detector finds fails the test.
//
// TestMain must be: func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }.
package rig
