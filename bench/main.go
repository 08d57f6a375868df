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

// options is the command line.
type options struct {
	rounds      int
	duration    time.Duration
	warmUp      time.Duration
	connections []int
	workloads   []workload
	targets     []target
	pools       []int
	replayKeys  int
	coldKeys    int
	gateway     string
	access      bool
	dir         string
	json        string
	profiles    string
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "role" {
		exit(runRole(os.Args[2:]))
	}
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(compare(ctx, o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parseOptions(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	short := flags.Bool("short", false, "one quick round, to see that everything works; its figures mean little")
	flags.IntVar(&o.rounds, "rounds", 5, "how often every cell is measured")
	flags.DurationVar(&o.duration, "duration", 2*time.Second, "measured time of a cell")
	flags.DurationVar(&o.warmUp, "warmup", 500*time.Millisecond, "time before it that is checked and not measured")
	connections := flags.String("connections", "1,16,64,256", "numbers of connections")
	workloads := flags.String("workloads", "fresh,replay,cold,get", "what to send")
	targets := flags.String("targets", "proxy,tuned,middleware,postgres,sqlite", "whom to compare")
	pools := flags.String("peer-pools", "4,8,16,32,64", "pool sizes to try for the middleware; the best at 64 connections is used")
	flags.IntVar(&o.replayKeys, "replay-keys", 1000, "how many keys replay repeats")
	flags.IntVar(&o.coldKeys, "cold-keys", 60000, "how many keys cold repeats")
	flags.StringVar(&o.gateway, "gateway", "", "binary to measure (default: build ./cmd/onceway)")
	flags.BoolVar(&o.access, "access-log", false, "let Onceway write its access log; the peers have none")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "where databases are put, on a disk of the kind that you care about")
	flags.StringVar(&o.json, "json", "", "file for the figures of every round")
	flags.StringVar(&o.profiles, "profile", "", "directory for CPU profiles of every part")
	flags.Parse(args)
	if *short {
		quick := map[string]string{"rounds": "1", "duration": "300ms", "warmup": "100ms", "peer-pools": "16", "cold-keys": "2000"}
		flags.Visit(func(f *flag.Flag) { delete(quick, f.Name) })
		for name, value := range quick {
			if err := flags.Set(name, value); err != nil {
				return o, err
			}
		}
	}
	var err error
	if o.connections, err = numbers(*connections); err != nil {
		return o, err
	}
	if o.pools, err = numbers(*pools); err != nil {
		return o, err
	}
	if o.workloads, err = oneOf(*workloads, fresh, replay, cold, get); err != nil {
		return o, err
	}
	if o.targets, err = oneOf(*targets, plainProxy, tunedProxy, usualMiddleware, oncewayPostgres, oncewaySQLite); err != nil {
		return o, err
	}
	if o.rounds < 1 || o.duration <= 0 || o.replayKeys < 1 || o.coldKeys < 1 || flags.NArg() > 0 {
		return o, fmt.Errorf("rounds, duration and numbers of keys must be positive, and there are no arguments")
	}
	return o, nil
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

func oneOf[T ~string](list string, known ...T) ([]T, error) {
	var chosen []T
	for word := range strings.SplitSeq(list, ",") {
		if !slices.Contains(known, T(word)) || slices.Contains(chosen, T(word)) {
			return nil, fmt.Errorf("%q: choose from %v, each once", list, known)
		}
		chosen = append(chosen, T(word))
	}
	return chosen, nil
}
