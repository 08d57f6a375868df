// Command bench compares Onceway with what people would put in its place, on one machine in one run.
//
// It starts every part as a process of its own: a backend that costs almost nothing, two peers (a
// plain reverse proxy, and the same proxy behind the usual one-INSERT-one-UPDATE middleware), Onceway
// on Postgres and on SQLite, and a closed-loop load generator. Cells (workload × connections ×
// target) run interleaved in rounds, so that drift of the machine hits everybody alike, and the
// result is a table of ratios.
//
// What it promises: every answer is checked (status, state, and the key echoed by the backend), and
// every cell's executions are counted on the backend itself. One wrong answer or one execution too
// many or too few fails the whole run. Postgres always runs with fsync and synchronous_commit on.
//
// What it does not promise: absolute figures. Load generator, proxy, backend and database share the
// same cores, so requests per second say how much work a request causes in total; only ratios of the
// same run are meant to be quoted.
package main
