package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/gateway/config"
)

func newDemoCommand() *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play a story with a real backend, the gateway and the embedded store",
		Long: "Start an order backend with a ledger of its own, and the gateway on the embedded store in front of it,\n" +
			"play a story with real HTTP calls, and stay up for you to try. Nothing else is needed; nothing is left behind.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), stopSignals()...)
			defer stop()
			// Whoever reads may leave (demo | head). By default that would kill the process, and leave its files.
			signal.Ignore(syscall.SIGPIPE)
			return demo(ctx, heard{cmd.OutOrStdout(), stop}, once)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "play the story and exit; 0 only if every step came out as narrated")
	cmd.AddCommand(newDemoBackendCommand())
	return cmd
}

// heard is the story's reader. When he has left, there is nobody to stay up for.
type heard struct {
	io.Writer
	left func()
}

func (h heard) Write(p []byte) (int, error) {
	n, err := h.Writer.Write(p)
	if err != nil {
		h.left()
	}
	return n, err
}

// demo sets the stage, plays the story and, unless once, stays up until ctx ends.
func demo(ctx context.Context, out io.Writer, once bool) error {
	dir, err := os.MkdirTemp("", "onceway-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	backend, err := startDemoBackend(dir)
	if err != nil {
		return err
	}
	defer backend.stop()
	c, err := demoConfig(dir, backend.address)
	if err != nil {
		return err
	}
	events, err := os.Create(filepath.Join(dir, "gateway.log"))
	if err != nil {
		return err
	}
	defer events.Close()
	s, err := startDemoGateway(ctx, c, events)
	if err != nil {
		return err
	}
	defer s.drain(context.Background())

	story := &story{
		out: out, gateway: "http://" + s.publicListener.Addr().String(), basePath: c.Reconcile.BasePath, backend: backend,
		client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableCompression: true}},
	}
	defer story.client.CloseIdleConnections()
	fmt.Fprintf(out, "Gateway  %s   (admin http://%s)\nBackend  http://%s   (an order service; it books whatever it gets)\nFiles    %s   (removed at the end)\n\n",
		story.gateway, s.adminListener.Addr(), backend.address, dir)
	if err := story.play(ctx); err != nil {
		return fmt.Errorf("the story did not come out as narrated: %w", err)
	}
	fmt.Fprint(out, "Every step came out as narrated.\n")
	if once {
		return nil
	}
	story.invite()
	err = backend.keepUp(ctx, func() { fmt.Fprintf(out, "The backend died and was started again.\n") })
	fmt.Fprint(out, "\nStopping.\n")
	return err
}

// demoConfig is what `onceway serve --upstream` would run with, on free ports and in dir.
func demoConfig(dir, backend string) (*config.Config, error) {
	listen, err := freeAddress("127.0.0.1:8080")
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress("127.0.0.1:9090")
	if err != nil {
		return nil, err
	}
	store := "sqlite:" + filepath.Join(dir, "onceway.db")
	c, err := config.ForUpstream("http://"+backend, config.Overrides{Listen: listen, AdminListen: admin, Store: store}, nil)
	if err != nil {
		return nil, err
	}
	c.DrainDelay = 0
	return c, nil
}

// startDemoGateway starts the gateway; on other ports where somebody has taken one of those that were free, as another demo
// does that is started at the same time.
func startDemoGateway(ctx context.Context, c *config.Config, events io.Writer) (*server, error) {
	s, err := startServer(ctx, c, false, events)
	if errors.Is(err, syscall.EADDRINUSE) {
		c.Listen, c.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0"
		s, err = startServer(ctx, c, false, events)
	}
	return s, err
}

// freeAddress returns preferred if it is free, or else the same host with a free port.
func freeAddress(preferred string) (string, error) {
	l, err := listenNear(preferred)
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// listenNear listens on preferred if that is free, or else on a free port of the same host.
func listenNear(preferred string) (net.Listener, error) {
	l, err := net.Listen("tcp", preferred)
	if err == nil {
		return l, nil
	}
	host, _, _ := net.SplitHostPort(preferred)
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}

// demoBackend is the order backend in a process of its own, so that it can die.
type demoBackend struct {
	address string
	ledger  string
	socket  *os.File // listens on address; nil where a process cannot hand one on
	process *exec.Cmd
}

// startDemoBackend keeps the listening socket, so that while the backend is started again its callers wait in the
// socket's queue instead of being refused.
func startDemoBackend(dir string) (*demoBackend, error) {
	l, err := listenNear("127.0.0.1:9000")
	if err != nil {
		return nil, err
	}
	b := &demoBackend{address: l.Addr().String(), ledger: filepath.Join(dir, "orders.db")}
	if runtime.GOOS != "windows" {
		b.socket, err = l.(*net.TCPListener).File()
	}
	l.Close() // not the socket
	if err != nil {
		return nil, err
	}
	return b, b.start()
}

// start returns when the backend answers.
func (b *demoBackend) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b.process = exec.Command(self, "demo", "backend", "--listen", b.address, "--ledger", b.ledger)
	if b.socket != nil {
		b.process.Args = append(b.process.Args, "--"+inheritedFlag)
		b.process.ExtraFiles = []*os.File{b.socket}
	}
	b.process.Stderr = os.Stderr
	dieWithParent(b.process)
	if err := b.process.Start(); err != nil {
		return err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for until := time.Now().Add(client.Timeout); ; {
		resp, err := client.Get("http://" + b.address + "/orders")
		if err == nil {
			return resp.Body.Close()
		}
		if time.Now().After(until) {
			b.stop()
			return fmt.Errorf("the demo backend does not come up: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// keepUp starts the backend again whenever it dies, until ctx ends.
func (b *demoBackend) keepUp(ctx context.Context, restarted func()) error {
	for {
		gone := make(chan error, 1)
		go func() { gone <- b.process.Wait() }()
		select {
		case <-ctx.Done():
			_ = b.process.Process.Kill()
			<-gone
			return nil
		case <-gone:
			if err := b.start(); err != nil {
				return err
			}
			restarted()
		}
	}
}

// died waits until the process is gone.
func (b *demoBackend) died() error {
	var exit *exec.ExitError
	if err := b.process.Wait(); !errors.As(err, &exit) {
		return fmt.Errorf("the backend did not die: %v", err)
	}
	return nil
}

func (b *demoBackend) stop() {
	b.socket.Close()
	if b.process.Process != nil {
		_ = b.process.Process.Kill()
		_ = b.process.Wait()
	}
}
