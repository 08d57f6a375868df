package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/gateway/config"
)

func newServeCommand() *cobra.Command {
	var o configFlags
	var migrate bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: "Run the gateway. Without a configuration file, --upstream alone gives one route, /**, on the\n" +
			"embedded store in the current directory.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.loadToServe()
			if err != nil {
				return err
			}
			relaxGC()
			return serve(cmd.Context(), c, migrate, cmd.ErrOrStderr())
		},
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&migrate, "migrate", false, "bring the schema of a Postgres store up to date first (SQLite always is)")
	return cmd
}

// stopSignals end a gateway in order. SIGHUP comes from a terminal that goes, and would kill by default; under nohup it
// stays ignored.
func stopSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// serve runs until a signal has drained it, or a listener breaks.
func serve(ctx context.Context, c *config.Config, migrate bool, out io.Writer) error {
	// Who reads the log may go. By default that would kill the process at its next line, and leave what runs in doubt.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stopSignals()...)
	defer signal.Stop(signals)
	// A store that does not answer must not keep a process from being stopped.
	starting, started := signal.NotifyContext(ctx, stopSignals()...)
	s, err := startServer(starting, c, migrate, out)
	told := starting.Err() != nil && ctx.Err() == nil
	started()
	switch {
	case err != nil && told:
		return &stoppedError{err}
	case err != nil:
		return err
	}
	s.announce()
	var failure error
	select {
	case failure = <-s.failed:
	case <-signals:
	}
	go func() {
		<-signals
		os.Exit(1) // a signal while draining: what is left executing is in doubt when the lease lapses
	}()
	return errors.Join(failure, s.drain(ctx))
}

// announce prints the banner in the log's way: whoever reads neither keeps the process from being stopped.
func (s *server) announce() {
	_, _ = s.telemetry.lines.Write([]byte(s.banner()))
	s.telemetry.lines.hurry()
}

// banner is the one block that start-up prints.
func (s *server) banner() string {
	var b strings.Builder
	c := s.config
	scheme := "http"
	if c.TLS.Enabled() {
		scheme = "https"
	}
	fmt.Fprintf(&b, "onceway %s\n", version())
	fmt.Fprintf(&b, "  listen   %s://%s   reconciliation %s   admin http://%s\n", scheme, s.publicListener.Addr(), c.Reconcile.BasePath, s.adminListener.Addr())
	fmt.Fprintf(&b, "  store    %s   schema %d   lease %s   retention %s / %s\n", s.store.title, s.store.schema, c.Lease, c.Retention.Response, c.Retention.Key)
	fmt.Fprintf(&b, "  caller   %s\n", callerTitle(c.Caller))
	if limits := limitsTitle(c); limits != "" {
		fmt.Fprintf(&b, "  limits   of each caller: %s\n", limits)
	}
	if pages := corsTitle(c.CORS); pages != "" {
		fmt.Fprintf(&b, "  pages    %s\n", pages)
	}
	for _, r := range c.Routes {
		fmt.Fprintf(&b, "  route    %s\n", routeTitle(c, r))
	}
	for _, w := range c.Warnings() {
		fmt.Fprintf(&b, "  warning  %s\n", w)
	}
	return b.String()
}

func callerTitle(c config.Caller) string {
	switch {
	case c.Header != nil:
		return "header " + c.Header.Name + ", from trusted_proxies"
	case c.None != nil && c.None.Shared:
		return "none: all clients are one caller, and share their keys"
	}
	return "none: all clients are one caller"
}

// limitsTitle says what each caller may have at most; "" if that has no limits.
func limitsTitle(c *config.Config) string {
	var titles []string
	for _, l := range []struct {
		value int
		of    string
	}{
		{c.Limits.RequestsPerSecond, "new requests a second"}, {c.Limits.InFlight, "attempts at once"},
		{c.Limits.Unsettled, "operations running or in doubt"}, {c.Reconcile.RequestsPerSecond, "questions a second"},
	} {
		if l.value > 0 {
			titles = append(titles, strconv.Itoa(l.value)+" "+l.of)
		}
	}
	return strings.Join(titles, ", ")
}

// corsTitle says which pages may read answers; "" for none.
func corsTitle(c config.CORS) string {
	if len(c.Origins) == 0 {
		return ""
	}
	title := "of " + strings.Join(c.Origins, ", ")
	if c.Credentials {
		title += " with credentials"
	}
	return title + " may read answers"
}

func routeTitle(c *config.Config, r config.Route) string {
	u := c.UpstreamOf(r)
	targets := make([]string, len(u.Targets))
	for i, t := range u.Targets {
		targets[i] = t.Redacted()
	}
	match := r.Match.Path
	if r.Match.Host != "" {
		match = r.Match.Host + match
	}
	if len(r.Match.Methods) > 0 {
		match = strings.Join(r.Match.Methods, "|") + " " + match
	}
	p := r.Idempotency
	title := fmt.Sprintf("%s   %s -> %s (%s)   idempotency %s", r.Name, match, u.Name, strings.Join(targets, ", "), p.Mode)
	pages := corsTitle(r.CORS)
	if pages != "" {
		pages = "\n             pages " + pages
	}
	if p.Mode == config.ModeOff {
		return title + pages
	}
	methods := "methods not idempotent by RFC 9110"
	if len(p.Methods) > 0 {
		methods = strings.Join(p.Methods, ", ")
	}
	return title + fmt.Sprintf("   key %s   %s   timeout %s\n             on unknown %s\n             503 means %s   not executed: %s   unknown: %s",
		p.Header, methods, u.Timeout, doubtTitle(p), meaning(p, 503), numbers(p.NotExecutedStatuses), numbers(p.UnknownStatuses)) + pages
}

// doubtTitle says what happens to an operation of which nobody knows whether it was executed.
func doubtTitle(p config.Idempotency) string {
	switch p.OnUnknown {
	case config.OnUnknownHold:
		return "hold: nothing executes it again, and nobody asks the backend"
	case config.OnUnknownProbe:
		url, _, _ := strings.Cut(p.Probe.URL, "?") // a query may contain a credential
		return "probe: GET " + url + "   " + probeTitle(p.Probe)
	case config.OnUnknownResend:
		return "resend: the next retry executes it again, so the backend must deduplicate by " + p.Header +
			"   still in progress: " + numbers(p.InProgressStatuses)
	}
	return p.OnUnknown.String()
}

// probeTitle says what the answers of a probe are believed to prove.
func probeTitle(p config.Probe) string {
	executed := "executed, and forgotten unless it brings the operation's answer"
	if p.Replay {
		executed = "executed, and replayed"
	}
	absent := "proves nothing"
	switch p.Absence {
	case config.AbsenceIgnore:
	case config.AbsenceFenced:
		absent = "not executed, if the backend confirms that it refuses it from now on"
	case config.AbsenceSettle:
		absent = "believed to be not executed " + p.Settle.String() + " after the doubt, which is a weaker promise"
	}
	return numbers(p.Executed) + " means " + executed + "   " + numbers(p.Absent) + " means " + absent
}

// meaning says what a status of the backend does to a record.
func meaning(p config.Idempotency, status int) string {
	switch {
	case slices.Contains(p.NotExecutedStatuses, status):
		return "not executed, send again"
	case slices.Contains(p.UnknownStatuses, status):
		return "unknown, it may have been executed"
	}
	return "executed, and is replayed"
}

func numbers(ns []int) string {
	if len(ns) == 0 {
		return "none"
	}
	s := make([]string, len(ns))
	for i, n := range ns {
		s[i] = strconv.Itoa(n)
	}
	return strings.Join(s, " ")
}
