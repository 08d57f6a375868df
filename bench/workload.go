package main

import (
	"fmt"
	"slices"
	"strings"
)

// workload names what a load generator sends.
type workload string

// shape is what a workload sends, and to whom.
type shape struct {
	name    workload
	title   string
	path    string // {key} in it is replaced
	content int    // about as many bytes of a POST; 0: a GET
	keys    keyKind
	targets []target // that can take part
	usual   []group  // what a usual run measures
}

// keyKind says where a workload's keys come from.
type keyKind int

const (
	noKey    keyKind = iota
	freshKey         // a new one for each request
	hotKeys          // a few that have been answered before: their records are in memory
	allKeys          // so many that have been answered before that only some of their records are in memory
	eachOnce         // the same, each once
)

func (w workload) shape() shape {
	if w == prime {
		s := replay.shape()
		s.name, s.keys = prime, eachOnce
		return s
	}
	i := slices.IndexFunc(workloads, func(s shape) bool { return s.name == w })
	if i < 0 {
		panic("no such workload: " + w)
	}
	return workloads[i]
}

func (s shape) get() bool { return s.content == 0 }

// repeats reports whether the keys must have been answered before.
func (s shape) repeats() bool { return s.keys == hotKeys || s.keys == allKeys }

// replays reports whether a target with a store executes nothing.
func (s shape) replays() bool { return s.repeats() && !s.get() }

// request returns the bytes of a request to host before and after its key, which a request without one
// has not. The cell travels in a header of its own: the backend counts executions for each cell, so
// that what an earlier one left behind is not charged to this one.
func (s shape) request(host, cell string) (before, after string) {
	fields := "Host: " + host + "\r\nAccept: application/json\r\nBench-Cell: " + cell + "\r\n"
	if s.get() {
		start, rest, _ := strings.Cut("GET "+s.path+" HTTP/1.1\r\n"+fields+"\r\n", "{key}")
		return start, rest
	}
	content := body(s.content)
	return fmt.Sprintf("POST %s HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\nIdempotency-Key: ", s.path, fields, len(content)),
		"\r\n\r\n" + content
}

// body returns JSON of about n bytes, of at least 1 KiB: an order, and what is attached to it.
func body(n int) string {
	var b strings.Builder
	b.WriteString(`{"customer":"c-1029384756","currency":"EUR","items":[`)
	for i := range 12 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"sku":"SKU-%06d","quantity":%d,"price":"%d.99","note":"gift wrapped"}`, 100000+i*7919, i+1, 10+i)
	}
	b.WriteString(`],"address":{"street":"1 Example Street","city":"Exampletown","country":"NL"}`)
	if room := n - b.Len(); n > 2<<10 {
		b.WriteString(`,"attachment":"` + strings.Repeat("Onceway ", room/8) + `"`)
	}
	b.WriteString(`}`)
	return b.String()
}

// expects returns what every answer of t to w must look like.
func (t target) expects(w workload) expectation {
	s := w.shape()
	switch e := (expectation{Status: 201}); {
	case s.get() && s.repeats() && t.onceway():
		return expectation{Status: 200, State: "completed"}
	case s.get():
		return expectation{Status: 200}
	case t.onceway() && s.replays():
		e.State, e.Replayed = "replayed", "true"
		return e
	case t.onceway():
		e.State = "executed"
		return e
	case t.stores() && s.replays():
		e.Replayed = "true"
		return e
	default:
		return e
	}
}

func (t target) onceway() bool {
	return slices.Contains([]target{oncewayPostgres, oncewaySQLite, oncewayPair, emptyStore, fullStore}, t)
}

// stores reports whether t can replay.
func (t target) stores() bool { return t.onceway() || t == usualMiddleware }

// executions returns how many of n answered requests the backend must have executed.
func (t target) executions(w workload, n int) int {
	if s := w.shape(); s.get() || s.replays() && t.stores() {
		return 0
	}
	return n
}
