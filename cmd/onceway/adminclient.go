package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/gateway/admin"
	"github.com/onceway/onceway/gateway/problem"
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
	base, err := f.base(cmd)
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
	// Never through a proxy of the environment, and never on to another address with the token.
	return &adminClient{base: base, token: token, http: &http.Client{
		Timeout: f.timeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (f *adminFlags) base(cmd *cobra.Command) (*url.URL, error) {
	address := f.url
	if address == "" {
		c, err := f.loadPart(cmd)
		if err != nil {
			return nil, err
		}
		address = reachable(c.Admin.Listen)
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" ||
		base.User != nil || base.RawQuery != "" {
		return nil, &usageError{errors.New("--admin is a URL such as http://127.0.0.1:9090")}
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
	base  *url.URL
	token string
	http  *http.Client
}

// list reads pages until it has so many records, or there are no more.
func (c *adminClient) list(ctx context.Context, query url.Values, limit int) (admin.List, error) {
	all := admin.List{Items: []admin.Record{}}
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(all.Items), 500)))
		var page admin.List
		if err := c.do(ctx, http.MethodGet, "/requests?"+query.Encode(), nil, &page); err != nil {
			return all, err
		}
		all.Items = append(all.Items, page.Items...)
		all.Next, all.ObservedAt = page.Next, page.ObservedAt
		if page.Next == nil || len(all.Items) >= limit {
			return all, nil
		}
		query.Set("cursor", *page.Next)
	}
}

func (c *adminClient) show(ctx context.Context, operation string, withBody bool) (r admin.Record, err error) {
	path := "/requests/" + url.PathEscape(operation)
	if withBody {
		path += "?include=body"
	}
	return r, c.do(ctx, http.MethodGet, path, nil, &r)
}

func (c *adminClient) resolve(ctx context.Context, operation string, said admin.Resolution) (r admin.Record, err error) {
	if c.token == "" {
		return r, fmt.Errorf("resolving needs a token: set $%s, or name a --token-file; “onceway admin token NAME” makes one",
			adminTokenVariable)
	}
	return r, c.do(ctx, http.MethodPost, "/requests/"+url.PathEscape(operation)+"/resolution", said, &r)
}

// do sends one request and reads its answer into out. A problem is an error that says what it means.
func (c *adminClient) do(ctx context.Context, method, path string, content, out any) error {
	var body io.Reader
	if content != nil {
		b, err := json.Marshal(content)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+admin.BasePath+path, body)
	if err != nil {
		return &usageError{err}
	}
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return problemError(c.base.Host, resp, b)
	}
	if err := json.Unmarshal(b, out); err != nil || !isAnswer(out) {
		return fmt.Errorf("%s did not answer as an admin listener does; is it the listener for clients?", c.base.Host)
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
