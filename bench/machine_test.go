package main

import (
	"slices"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	line := "4711 (a (b) c) S 42 4711 4711 0 -1 4194560 2345 0 0 0 150 50 7 3 20 0 8 0 12345 0 0"
	got, err := parseStat([]byte(line))
	if want := (stat{parent: 42, cpu: 2 * time.Second, waited: 100 * time.Millisecond}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 (x) S 1", "1 x S 42 1 1 0 -1 1 1 0 0 0 1 1 1 1", "1 (x) S a 1 1 0 -1 1 1 0 0 0 1 1 1 1"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestParseBusy(t *testing.T) {
	got, err := parseBusy([]byte("cpu  100 20 30 999 888 7 6 5 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"))
	if want := 1550 * time.Millisecond; err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 x 4 5 6 7 8"} {
		if _, err := parseBusy([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestOwnEnvironment(t *testing.T) {
	got := ownEnvironment([]string{"HOME=/x", "ONCEWAY_STORE=elsewhere", "OTEL_TRACES_EXPORTER=otlp", "PATH=/bin"})
	if !slices.Equal(got, []string{"HOME=/x", "PATH=/bin"}) {
		t.Errorf("%v", got)
	}
}

func TestMountType(t *testing.T) {
	mounts := "proc /proc proc rw 0 0\n/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\n/dev/c /tmp/disk btrfs rw 0 0\n"
	for dir, want := range map[string]string{"/": "ext4", "/home/x": "ext4", "/tmp": "tmpfs", "/tmpfoo": "ext4", "/tmp/disk/x": "btrfs", "/proc/1": "proc"} {
		if got := mountType(mounts, dir); got != want {
			t.Errorf("%s is on %s, want %s", dir, got, want)
		}
	}
	if got := mountType("", "/"); got != "unknown" {
		t.Errorf("without mounts: %s", got)
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"-short", "-duration", "1s", "-connections", "2,3", "-targets", "proxy,sqlite"})
	if err != nil || o.rounds != 1 || o.duration != time.Second || len(o.connections) != 2 || len(o.targets) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-connections", "0"}, {"-connections", "1,"}, {"-targets", "proxy,proxy"}, {"-workloads", "prime"}, {"-rounds", "0"}, {"extra"}} {
		if _, err := parseOptions(bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
