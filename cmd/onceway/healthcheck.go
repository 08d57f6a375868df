package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/gateway/admin"
)

func newHealthcheckCommand() *cobra.Command {
	var f configFlags
	var address string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a gateway on this machine whether it is ready; 1 if it is not",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if address == "" {
				c, err := f.loadPart()
				if err != nil {
					return err
				}
				address = c.Admin.Listen
			}
			base, err := adminURL(address)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return healthcheck(ctx, base, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "configuration file, for admin.listen ($"+configVariable+")")
	cmd.Flags().StringVar(&address, "admin", "", "URL or address of the admin listener; default: admin.listen")
	cmd.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long to wait for the answer")
	return cmd
}

// healthcheck prints what /readyz says. It returns an error unless the gateway is ready.
func healthcheck(ctx context.Context, base *url.URL, out io.Writer) error {
	target := base.JoinPath("readyz")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return &usageError{err}
	}
	// Never through a proxy of the environment: the gateway is here.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	text := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %d: %s", target.Host, resp.StatusCode, text)
	}
	if text != admin.Ready { // another 200, as a backend's to what the listener for clients passes on, says nothing of the gateway
		return fmt.Errorf("%s did not answer as an admin listener does; is it the listener for clients?", target.Host)
	}
	_, err = fmt.Fprintln(out, text)
	return err
}

// reachable turns an address to listen on into one to connect to.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && ip.IsUnspecified() && ip.Is4():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
