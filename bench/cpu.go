package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// processCPU returns the processor time, user and system, of this process so far.
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tick is the unit of /proc/PID/stat: USER_HZ, which is 100 on every Linux platform that Go supports.
const tick = 10 * time.Millisecond

// stat is the part of /proc/PID/stat (proc(5)) that is needed here.
type stat struct {
	parent int
	cpu    time.Duration // user and system
	waited time.Duration // the same of children that have ended and were waited for
}

func parseStat(b []byte) (stat, error) {
	_, rest, ok := bytes.Cut(b[max(bytes.LastIndexByte(b, ')'), 0):], []byte(") "))
	f := bytes.Fields(rest) // f[0] is field 3 of proc(5)
	if !ok || len(f) < 15 {
		return stat{}, fmt.Errorf("unexpected format of stat: %.80q", b)
	}
	var n [5]int
	for i, field := range [...]int{1, 11, 12, 13, 14} {
		var err error
		if n[i], err = strconv.Atoi(string(f[field])); err != nil {
			return stat{}, fmt.Errorf("unexpected format of stat: %w", err)
		}
	}
	return stat{parent: n[0], cpu: time.Duration(n[1]+n[2]) * tick, waited: time.Duration(n[3]+n[4]) * tick}, nil
}

// treeCPU returns the processor time of a process and of its children, living and ended, so far. It
// is 0 where there is no /proc.
func treeCPU(pid int) time.Duration {
	var sum time.Duration
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		s, err := parseStat(b)
		switch {
		case err != nil:
		case filepath.Base(filepath.Dir(name)) == strconv.Itoa(pid):
			sum += s.cpu + s.waited
		case s.parent == pid:
			sum += s.cpu
		}
	}
	return sum
}

// parseBusy returns the processor time that everything on the machine has used, from the first line of
// /proc/stat (proc(5)): user, nice, system and stolen time. Interrupts are left out, because processes
// are not charged for them either.
func parseBusy(b []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 9 || string(f[0]) != "cpu" {
		return 0, fmt.Errorf("unexpected format of stat: %.80q", line)
	}
	var sum int
	for _, field := range [...]int{1, 2, 3, 8} {
		n, err := strconv.Atoi(string(f[field]))
		if err != nil {
			return 0, fmt.Errorf("unexpected format of stat: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// machineCPU returns the processor time that the whole machine has used so far; 0 where there is no
// /proc.
func machineCPU() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	busy, _ := parseBusy(b)
	return busy
}

// resident returns the resident memory of a process, in MiB: VmRSS of /proc/PID/status (proc(5)).
func resident(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("resident memory: %w", err)
	}
	return parseResident(b)
}

func parseResident(status []byte) (float64, error) {
	_, rest, _ := bytes.Cut(status, []byte("\nVmRSS:"))
	f := bytes.Fields(rest)
	if len(f) < 2 || string(f[1]) != "kB" {
		return 0, errors.New("unexpected format of status: no VmRSS")
	}
	n, err := strconv.Atoi(string(f[0]))
	return float64(n) / 1024, err
}
