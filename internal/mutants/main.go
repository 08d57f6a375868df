package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"
)

func main() {
	run := flag.String("run", "", "try only those whose names match")
	list := flag.Bool("list", false, "print their names and the tests that have to notice, and try none")
	flag.Parse()
	only, err := regexp.Compile(*run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	root, err := moduleRoot()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	tried, survived := 0, 0
	for _, m := range mutants {
		switch {
		case !only.MatchString(m.name):
			continue
		case *list:
			fmt.Printf("%-50s %-35s %s\n", m.name, m.file, m.pkg+" "+m.test)
			continue
		}
		begun := time.Now()
		caught, err := m.try(ctx, root)
		tried++
		if err != nil {
			survived++
			fmt.Printf("%-50s SURVIVES: %v\n", m.name, err)
			continue
		}
		fmt.Printf("%-50s caught by %s %s (%.0f s)\n", m.name, m.pkg, shorten(caught), time.Since(begun).Seconds())
	}
	if *list {
		return
	}
	fmt.Printf("%d broken gateways, %d caught\n", tried, tried-survived)
	if survived > 0 || tried == 0 {
		os.Exit(1)
	}
}

func shorten(tests []string) string {
	const most = 3
	if len(tests) <= most {
		return strings.Join(tests, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(tests[:most], ", "), len(tests)-most)
}
