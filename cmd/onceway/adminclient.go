package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/openapi/admin"
)

// adminTokenVariable has the operator's token where no file does.
const adminTokenVariable = "ONCEWAY_ADMIN_TOKEN"

// adminFlags say where the admin listener is, and who asks.
type adminFlags struct {
	configFlags
	url       string
	tokenFile string
	timeout   time.Duration
}

func (f *adminFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "admin", "", "URL or address of a gateway's admin listener; default: admin.listen")
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "configuration file, for admin.listen ($"+configVariable+")")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file with your token (default $"+adminTokenVariable+")")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long to wait for an answer")
}

// client returns a client of the admin listener that the flags name.
func (f *adminFlags) client(cmd *cobra.Command) (*adminClient, error) {
	base, err := f.base()
	if err != nil {
		return nil, err
	}
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	if token != "" && base.Scheme == "http" && !isLocalHost(base.Hostname()) {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: the token goes to %s unencrypted\n", base.Host)
	}
	c := &adminClient{host: base.Host, token: token}
	// Never through a proxy of the environment, and never on to another address with the token.
	c.api, err = admin.NewClient(base.String(), admin.WithHTTPClient(&http.Client{
		Timeout: f.timeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}), admin.WithRequestEditorFn(c.authorize))
	return c, err
}

func (f *adminFlags) base() (*url.URL, error) {
	address := f.url
	if address == "" {
		c, err := f.loadPart()
		if err != nil {
			return nil, err
		}
		address = c.Admin.Listen
	}
	return adminURL(address)
}

// adminURL reads the value of --admin: a URL, or an address to listen on. The error is about the usage.
func adminURL(address string) (*url.URL, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + reachable(address)
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" ||
		base.User != nil || base.RawQuery != "" {
		return nil, &usageError{errors.New("--admin is an address such as 127.0.0.1:9090, or a URL such as http://127.0.0.1:9090")}
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	return base, nil
}

func (f *adminFlags) token() (string, error) {
	if f.tokenFile == "" {
		return strings.TrimSpace(os.Getenv(adminTokenVariable)), nil
	}
	b, err := os.ReadFile(f.tokenFile)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", &usageError{fmt.Errorf("%s has not exactly one token in it", f.tokenFile)}
	}
	return token, nil
}

func isLocalHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// adminClient asks an admin listener.
type adminClient struct {
	host  string
	token string
	api   *admin.Client
}

func (c *adminClient) authorize(_ context.Context, r *http.Request) error {
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	return nil
}

// list reads pages until it has so many records, or there are no more.
func (c *adminClient) list(ctx context.Context, params admin.ListRequestsParams, limit int) (admin.List, error) {
	all := admin.List{Items: []admin.Record{}}
	for {
		most := min(limit-len(all.Items), 500)
		params.Limit = &most
		resp, err := c.api.ListRequests(ctx, &params)
		var page admin.List
		if err := c.read(resp, err, &page); err != nil {
			return all, err
		}
		all.Items = append(all.Items, page.Items...)
		all.Next, all.ObservedAt = page.Next, page.ObservedAt
		if page.Next == nil || len(all.Items) >= limit {
			return all, nil
		}
		params.Cursor = page.Next
	}
}

func (c *adminClient) show(ctx context.Context, operation string, withBody bool) (r admin.Record, err error) {
	var params admin.GetRequestParams
	if withBody {
		body := admin.GetRequestParamsIncludeBody
		params.Include = &body
	}
	resp, err := c.api.GetRequest(ctx, operation, &params)
	return r, c.read(resp, err, &r)
}

func (c *adminClient) resolve(ctx context.Context, operation string, said admin.Resolution) (r admin.Record, err error) {
	if c.token == "" {
		return r, fmt.Errorf("resolving needs a token: set $%s, or name a --token-file; “onceway admin token NAME” makes one",
			adminTokenVariable)
	}
	resp, err := c.api.ResolveRequest(ctx, operation, said)
	return r, c.read(resp, err, &r)
}

// read reads an answer into out. A problem is an error that says what it means.
func (c *adminClient) read(resp *http.Response, err error, out any) error {
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return problemError(c.host, resp, b)
	}
	if err := json.Unmarshal(b, out); err != nil || !isAnswer(out) {
		return fmt.Errorf("%s did not answer as an admin listener does; is it the listener for clients?", c.host)
	}
	return nil
}

// isAnswer tells an answer from any other JSON: something may stand at that address that answers everything.
func isAnswer(out any) bool {
	switch out := out.(type) {
	case *admin.List:
		return out.Items != nil && !out.ObservedAt.IsZero()
	case *admin.Record:
		return out.Operation != "" && out.State != ""
	}
	return false
}

// problemError turns an answer that is no success into what a person should read.
func problemError(host string, resp *http.Response, body []byte) error {
	var p struct{ Code, Title, Detail, State string }
	if resp.Header.Get("Content-Type") != problem.ContentType || json.Unmarshal(body, &p) != nil {
		return fmt.Errorf("%s answered %s; is it an admin listener?", host, resp.Status)
	}
	where := ""
	if slug, ok := problem.ParseSlug(p.Code); ok && (slug == problem.AlreadySettled || slug == problem.InProgress) {
		where = " (it is " + p.State + ")"
	}
	return fmt.Errorf("%d %s%s: %s", resp.StatusCode, p.Code, where, p.Detail)
}
