package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

//go:embed wrk.lua
var wrkScript []byte

// canWrk reports whether wrk can measure l: a closed loop of whole seconds. It makes each request anew
// out of Lua strings, so large ones would cost more than what is measured.
func (l load) canWrk() bool {
	return l.Rate == 0 && l.Duration >= time.Second && l.Duration%time.Second == 0 && l.Workload.shape().content <= 16<<10
}

// wrk runs wrk with the load. It checks less than our own generator, which runs before it as warm-up: a
// status of 400 or above or a broken connection fails the run, contents and other headers are not looked
// at. wrk drops what is under way when its time is over, so that up to one request for each connection
// may have been executed and not counted.
func (l load) wrk(ctx context.Context, program, dir string) (outcome, error) {
	script := filepath.Join(dir, "wrk.lua")
	if err := os.WriteFile(script, wrkScript, 0o600); err != nil {
		return outcome{}, err
	}
	s := l.Workload.shape()
	kind := "none"
	switch {
	case s.keys == freshKey:
		kind = "fresh"
	case s.repeats():
		kind = filepath.Join(dir, "keys")
		var lines bytes.Buffer
		for _, key := range l.Keys.keys() {
			lines.Write(append(key[:], '\n'))
		}
		if err := os.WriteFile(kind, lines.Bytes(), 0o600); err != nil {
			return outcome{}, err
		}
	}
	before, after := s.request(l.Addresses[0], l.Cell)
	threads := max(min(l.Connections, runtime.NumCPU()), min(l.Connections, len(l.Addresses)))
	cmd := exec.CommandContext(ctx, program, "-t", strconv.Itoa(threads), "-c", strconv.Itoa(l.Connections),
		"-d", fmt.Sprintf("%ds", l.Duration/time.Second), "--timeout", "30s", "-s", script, "http://"+l.Addresses[0])
	cmd.Env = append(os.Environ(), "BENCH_BEFORE="+before, "BENCH_AFTER="+after, "BENCH_KEYS="+kind,
		"BENCH_STEM="+keyStem(time.Now()), "BENCH_ADDRESSES="+strings.Join(l.Addresses, ","))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return outcome{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	o, err := parseWrk(out)
	o.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return o, err
}

// keyStem returns the first 24 of the 36 bytes of UUIDv7s of one run of wrk, which adds 12 hexadecimal
// digits.
func keyStem(now time.Time) string {
	var key [keyLength]byte
	random := newRandom()
	writeUUIDv7(key[:], now.UnixMilli(), random.Uint64(), random.Uint64())
	return string(key[:24])
}

// parseWrk reads the line that our script makes wrk print.
func parseWrk(out []byte) (outcome, error) {
	_, line, ok := bytes.Cut(out, []byte("\nBENCH "))
	var r struct{ Requests, Micros, P50, P90, P99, P999, Max, Broken, Refused int64 }
	if !ok {
		return outcome{}, fmt.Errorf("wrk printed no result:\n%s", out)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return outcome{}, fmt.Errorf("result of wrk: %w\n%s", err, out)
	}
	if r.Broken > 0 || r.Refused > 0 {
		return outcome{}, fmt.Errorf("wrk: %d connections broke or timed out, %d answers had a status of 400 or above", r.Broken, r.Refused)
	}
	micros := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	return outcome{Answered: int(r.Requests), Measured: uint64(r.Requests), Elapsed: micros(r.Micros),
		P50: micros(r.P50), P90: micros(r.P90), P99: micros(r.P99), P999: micros(r.P999), Max: micros(r.Max)}, nil
}
