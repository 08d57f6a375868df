// Command mutants breaks Onceway on purpose, one small way at a time, and shows which test notices.
//
// A checker that cannot fail is worthless. Each mutant is a change of a few words to one file of the
// product, kept as text in this package, and a test that has to fail with it. One that survives, that does
// not compile, or whose text is no longer in its file is a failure.
//
// The changed file reaches the compiler through go's -overlay flag, also in the binaries that tests build.
// So product code has no build tags and no switches, nothing broken can be shipped by a wrong flag, and
// embedded SQL is changed the same way as Go.
//
//	go run ./internal/mutants              all of them
//	go run ./internal/mutants -run lease   those whose names match
//	go run ./internal/mutants -list
package main
