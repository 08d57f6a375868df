package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

// runRole is what the child processes run: the benchmark's binary starts itself once for each part.
func runRole(args []string) error {
	if len(args) == 0 {
		return errors.New("a role is missing")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	listen := flags.String("listen", "", "")
	backendAddr := flags.String("backend", "", "")
	dsn := flags.String("dsn", "", "")
	pool := flags.Int("pool", 0, "")
	profile := flags.String("profile", "", "")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if args[0] == "load" {
		return runLoad(ctx, os.Stdin, os.Stdout)
	}
	ctx, orphaned := context.WithCancel(ctx)
	go func() { // standard input ends when the parent does, however it does
		io.Copy(io.Discard, os.Stdin)
		orphaned()
	}()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	return profiled(*profile, func() error {
		switch args[0] {
		case "backend":
			return newBackend().serve(ctx, l)
		case "proxy":
			return serveHTTP(ctx, l, newProxy(*backendAddr))
		case "tuned":
			return serveHTTP(ctx, l, newTuned(*backendAddr))
		case "middleware":
			m, err := newMiddleware(ctx, *dsn, *pool, newProxy(*backendAddr))
			if err != nil {
				return err
			}
			defer m.pool.Close()
			return serveHTTP(ctx, l, m)
		}
		return fmt.Errorf("no such role: %s", args[0])
	})
}

// serveHTTP serves a peer. Full duplex lets it read a request to its end while it answers already: without
// it the server closes the request's body at the first byte of the answer, and if the proxy is about to find
// its end just then, it gives the backend's connection up in the middle of the answer (golang/go#40747).
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			log.Print(err)
		}
		h.ServeHTTP(w, r)
	})}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func runLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	var l load
	if err := json.NewDecoder(in).Decode(&l); err != nil {
		return fmt.Errorf("instruction of the load generator: %w", err)
	}
	return profiled(l.Profile, func() error {
		o, err := l.run(ctx)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(o)
	})
}

// profiled runs f, and writes a CPU profile of it if file is not empty.
func profiled(file string, f func() error) error {
	if file == "" {
		return f()
	}
	w, err := os.Create(file)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := pprof.StartCPUProfile(w); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return f()
}
