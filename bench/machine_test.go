package main

import (
	"slices"
	"strings"
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

func TestParseResident(t *testing.T) {
	if got, err := parseResident([]byte("Name:\tx\nVmHWM:\t  4096 kB\nVmRSS:\t  2048 kB\nRssAnon: 1 kB\n")); err != nil || got != 2 {
		t.Errorf("%v MiB, %v", got, err)
	}
	for _, bad := range []string{"", "Name:\tx\nVmHWM:\t4096 kB\n", "Name:\tx\nVmRSS:\t2048 MB\n"} {
		if _, err := parseResident([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestParsePgbench(t *testing.T) {
	log := "0 1 1500 0 1795256075 906045\n0 2 100 0 1795256075 906145\n0 3 2500 0 1795256075 908645\n"
	if got, err := parsePgbench([]byte(log)); err != nil || got != 1.5 {
		t.Errorf("%v ms, %v", got, err)
	}
	for _, bad := range []string{"", "0 1 x 0 1 2\n", "0 1\n"} {
		if _, err := parsePgbench([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestSumOfAMetric(t *testing.T) {
	e := exposition(`# HELP onceway_transitions_total Records that moved.
onceway_transitions_total{onceway_state="executing",otel_scope_name="a b"} 3
onceway_transitions_total{onceway_state="completed",otel_scope_name="a b"} 4
onceway_transitions_total_created 9
onceway_in_flight 2.5e+02
`)
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{7, "onceway_transitions_total", nil}, {3, "onceway_transitions_total", []string{`onceway_state="executing"`}},
		{250, "onceway_in_flight", nil}, {0, "onceway_in", nil}, {0, "onceway_in_flight", []string{"x"}},
	} {
		if got := e.sum(c.name, c.labels...); got != c.want {
			t.Errorf("%s %v: %v, want %v", c.name, c.labels, got, c.want)
		}
	}
}

func TestStatementsAbout(t *testing.T) {
	log := `2026 LOG:  execute x: select $1
2026 DETAIL:  parameters: $1 = 'one', $2 = '{0a,1b}'
2026 DETAIL:  parameters: $1 = 'two'
2026 LOG:  statement: select '0a'
`
	if got := statementsAbout("0a", []byte(log)); got != 1 {
		t.Errorf("%d statements, want the 1 with the parameter", got)
	}
}

func TestParseWrk(t *testing.T) {
	const line = "Running 1s test\n\nBENCH {\"requests\":10,\"micros\":1000000,\"p50\":5,\"p90\":6,\"p99\":7,\"p999\":8,\"max\":9,\"broken\":0,\"refused\":0}\n"
	o, err := parseWrk([]byte(line))
	if want := (outcome{Answered: 10, Measured: 10, Elapsed: time.Second, P50: 5000, P90: 6000, P99: 7000, P999: 8000, Max: 9000}); err != nil || o != want {
		t.Errorf("%+v, %v, want %+v", o, err, want)
	}
	for _, bad := range []string{"unable to connect", strings.Replace(line, `"broken":0`, `"broken":1`, 1), strings.Replace(line, `"refused":0`, `"refused":1`, 1), "\nBENCH {"} {
		if _, err := parseWrk([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	absent, advice := missing([]string{"wrk", "proxy"})
	if !slices.Equal(absent, []string{"wrk"}) || advice != "wrk left out, because not installed: apt-get install wrk" {
		t.Errorf("%v, %q", absent, advice)
	}
	if absent, advice := missing([]string{"proxy"}); absent != nil || advice != "" {
		t.Errorf("%v, %q", absent, advice)
	}
}

func TestArrangeLeavesOutWhatIsNotThere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, o, err := parseOptions([]string{"-targets", "caddy,sqlite", "-workloads", "fresh,get", "-connections", "4"})
	if err != nil {
		t.Fatal(err)
	}
	p, notes := arrange(&o)
	if want := []cell{{oncewaySQLite, fresh, 4}}; !slices.Equal(p.cells(), want) || !slices.Equal(p.targets(), []target{oncewaySQLite}) || len(p.probes) > 0 {
		t.Errorf("%+v, want %v and no probes", p, want)
	}
	if text := strings.Join(notes, "\n"); !strings.Contains(text, "wrk, caddy left out") || !strings.Contains(text, "no probes") || o.generator != "own" {
		t.Errorf("generator %s, notes:\n%s", o.generator, text)
	}
}

func TestOptions(t *testing.T) {
	_, o, err := parseOptions([]string{"-short", "-duration", "1s", "-connections", "2,3", "-targets", "proxy,sqlite"})
	if err != nil || o.rounds != 1 || o.duration != time.Second || len(o.connections) != 2 || len(o.targets) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	if _, o, err := parseOptions([]string{"-full", "-rounds", "2"}); err != nil || o.rounds != 2 || o.duration != 2*time.Second || !o.full {
		t.Errorf("%+v, %v", o, err)
	}
	command, o, err := parseOptions([]string{"soak", "-duration", "20s", "-rate", "50"})
	if err != nil || command != "soak" || o.duration != 20*time.Second || o.rate != 50 {
		t.Errorf("%s, %+v, %v", command, o, err)
	}
	command, o, err = parseOptions([]string{"records", "-records", "5000"})
	if err != nil || command != "records" || o.records != 5000 || o.rounds != 5 {
		t.Errorf("%s, %+v, %v", command, o, err)
	}
	for _, bad := range [][]string{{"-connections", "0"}, {"-connections", "1,"}, {"-targets", "proxy,proxy"}, {"-workloads", "prime"}, {"-rounds", "0"}, {"extra"},
		{"-probes", "x"}, {"-generator", "ab"}, {"records", "-records", "1"}, {"soak", "-rate", "0"}, {"soak", "extra"}} {
		if _, _, err := parseOptions(bad); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
