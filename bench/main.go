package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options is the command line: all that the commands have in common, and what each has of its own.
type options struct {
	gateway string
	access  bool
	dir     string
	json    string

	rounds      int
	duration    time.Duration
	warmUp      time.Duration
	full        bool
	connections []int // nil for the plan's own, as targets
	workloads   []workload
	targets     []target
	probes      []string
	pools       []int
	replayKeys  int
	coldKeys    int
	longBytes   int
	hurried     bool
	generator   string
	profiles    string

	settings [][2]string // of the server, besides ours

	records int           // of records
	backlog time.Duration // of records
	rate    float64       // of soak
	store   string        // of soak: postgres or sqlite
}

// commands are what may follow the program's name; without a word it is compare.
var commands = map[string]func(context.Context, options) error{"compare": compare, "records": records, "soak": soak}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "role" {
		exit(runRole(os.Args[2:]))
	}
	command, o, err := parseOptions(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(commands[command](ctx, o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parseOptions(args []string) (command string, o options, err error) {
	command = "compare"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	if commands[command] == nil {
		return "", o, fmt.Errorf("%q: the commands are compare, records and soak", command)
	}
	flags := flag.NewFlagSet("bench "+command, flag.ExitOnError)
	flags.StringVar(&o.gateway, "gateway", "", "binary to measure (default: build ./cmd/onceway)")
	flags.BoolVar(&o.access, "access-log", false, "let Onceway write its access log; the peers have none")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "where databases are put, on a disk of the kind that you care about")
	flags.StringVar(&o.json, "json", "", "file for the figures of every round")
	flags.IntVar(&o.rounds, "rounds", 3, "how often everything is measured")
	flags.DurationVar(&o.duration, "duration", time.Second, "measured time of a cell (of soak: of all)")
	flags.DurationVar(&o.warmUp, "warmup", 100*time.Millisecond, "time before it that is checked and not measured")
	flags.Func("set", "NAME=VALUE: a setting of the Postgres server, besides ours or instead of one of ours; may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("it is NAME=VALUE")
		}
		o.settings = append(o.settings, [2]string{name, value})
		return nil
	})
	switch command {
	case "records":
		flags.IntVar(&o.records, "records", 10_000_000, "how many records are stored before the comparison")
		flags.DurationVar(&o.backlog, "backlog", 72*time.Hour, "for how long nothing was removed; 0: only what expires meanwhile remains to be")
		quicken(flags, map[string]string{"rounds": "5", "duration": "5s"})
	case "soak":
		flags.Float64Var(&o.rate, "rate", 1000, "arrivals per second")
		flags.StringVar(&o.store, "store", "postgres", "postgres or sqlite")
		quicken(flags, map[string]string{"duration": "10m"})
	default:
		return command, o, parseCompare(flags, args, &o)
	}
	flags.Parse(args)
	if command == "soak" && o.store != "postgres" && o.store != "sqlite" {
		return command, o, fmt.Errorf("%q: the store is postgres or sqlite", o.store)
	}
	if o.rounds < 1 || o.duration <= 0 || command == "records" && (o.records < 1000 || o.backlog < 0) || command == "soak" && o.rate < 1 || flags.NArg() > 0 {
		return command, o, fmt.Errorf("numbers and durations must be positive (at least 1,000 records; a backlog may be 0), and there are no arguments")
	}
	return command, o, nil
}

func parseCompare(flags *flag.FlagSet, args []string, o *options) error {
	short := flags.Bool("short", false, "one quick round, to see that everything works; its figures mean little")
	flags.BoolVar(&o.full, "full", false, "everybody at every number of connections, five rounds of two seconds; says first how long it takes")
	connections := flags.String("connections", "", "numbers of connections (default: those of the plan)")
	names := flags.String("workloads", joined(workloadNames()), "what to send")
	targets := flags.String("targets", "", "whom to compare (default: those of the plan), of "+joined(everybody))
	probed := flags.String("probes", joined(probeNames()), "what else to measure of Onceway on Postgres, or none")
	pools := flags.String("peer-pools", "8,16,32", "pool sizes to try for the middleware; the best at 64 connections is used")
	flags.IntVar(&o.replayKeys, "replay-keys", 1000, "how many keys replay repeats")
	flags.IntVar(&o.coldKeys, "cold-keys", 100000, "how many keys cold and statuscold repeat")
	flags.StringVar(&o.generator, "generator", "wrk", "wrk where it can and is installed, or own")
	flags.StringVar(&o.profiles, "profile", "", "directory for CPU profiles of every part")
	flags.Parse(args)
	o.longBytes = 1 << 30
	if o.full {
		quicken(flags, map[string]string{"rounds": "5", "duration": "2s", "warmup": "500ms", "peer-pools": "4,8,16,32,64", "cold-keys": "60000"})
	}
	if *short {
		quicken(flags, map[string]string{"rounds": "1", "duration": "300ms", "warmup": "100ms", "peer-pools": "16", "cold-keys": "2000"})
		o.longBytes, o.hurried = 64<<20, true
	}
	var err error
	if *connections != "" {
		if o.connections, err = numbers(*connections); err != nil {
			return err
		}
	}
	if o.pools, err = numbers(*pools); err != nil {
		return err
	}
	if o.workloads, err = oneOf(*names, workloadNames()); err != nil {
		return err
	}
	if *targets != "" {
		if o.targets, err = oneOf(*targets, everybody); err != nil {
			return err
		}
	}
	if *probed != "none" {
		if o.probes, err = oneOf(*probed, probeNames()); err != nil {
			return err
		}
	}
	if o.rounds < 1 || o.duration <= 0 || o.replayKeys < 1 || o.coldKeys < o.replayKeys || flags.NArg() > 0 {
		return fmt.Errorf("rounds, duration and numbers of keys must be positive, cold keys not fewer than those of replay, and there are no arguments")
	}
	if o.generator != "wrk" && o.generator != "own" {
		return fmt.Errorf("%q: the generator is wrk or own", o.generator)
	}
	return nil
}

// quicken gives flags that were not set on the command line other values.
func quicken(flags *flag.FlagSet, values map[string]string) {
	flags.Visit(func(f *flag.Flag) { delete(values, f.Name) })
	for name, value := range values {
		if err := flags.Set(name, value); err != nil {
			panic(err)
		}
	}
}

func workloadNames() []workload {
	var names []workload
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

func probeNames() []string {
	var names []string
	for _, p := range probes {
		names = append(names, p.name)
	}
	return names
}

func joined[T ~string](words []T) string {
	plain := make([]string, len(words))
	for i, w := range words {
		plain[i] = string(w)
	}
	return strings.Join(plain, ",")
}

func numbers(list string) ([]int, error) {
	var ns []int
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a list of positive numbers", list)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

func oneOf[T ~string](list string, known []T) ([]T, error) {
	var chosen []T
	for word := range strings.SplitSeq(list, ",") {
		if !slices.Contains(known, T(word)) || slices.Contains(chosen, T(word)) {
			return nil, fmt.Errorf("%q: choose from %v, each once", list, known)
		}
		chosen = append(chosen, T(word))
	}
	return chosen, nil
}
