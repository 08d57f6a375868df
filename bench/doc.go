// Command bench compares Onceway with what people would put in its place, on one machine in one run.
//
// It starts every part as a process of its own: a backend that costs almost nothing, plain reverse
// proxies of several makes, one of them also behind the usual one-INSERT-one-UPDATE middleware, Onceway
// on Postgres and on SQLite, and a load generator. plan.go lists them, and what is sent. Cells (workload
// × connections × target) run interleaved in rounds, so that drift of the machine hits everybody alike,
// and the result is a table of ratios. Probes measure what no ratio of rates can say.
//
// What it promises: every answer to our own load generator is checked (status, state, and the key echoed
// by the backend), of those to wrk the status, and every cell's executions are counted on the backend
// itself. One wrong answer or one execution too many or too few fails the whole run. Postgres always runs
// with fsync and synchronous_commit on.
//
// What it does not promise: absolute figures. Load generator, proxy, backend and database share the
// same cores, so requests per second say how much work a request causes in total; only ratios of the
// same run are meant to be quoted.
package main
