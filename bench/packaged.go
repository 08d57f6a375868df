package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// program is a peer, or a tool, that Debian packages. The benchmark takes it where it finds it and
// never installs anything.
type program struct {
	name    string   // on the path, and of Debian's package
	version []string // arguments that make it print its version
}

var programs = []program{{"wrk", []string{"-v"}}, {"nginx", []string{"-v"}}, {"haproxy", []string{"-v"}}, {"caddy", []string{"version"}}}

// find returns the program's path; Debian keeps servers where users do not look.
func (p program) find() (string, bool) {
	if path, err := exec.LookPath(p.name); err == nil {
		return path, true
	}
	path := filepath.Join("/usr/sbin", p.name)
	_, err := os.Stat(path)
	return path, err == nil
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// describe returns name and version.
func (p program) describe(ctx context.Context) string {
	path, ok := p.find()
	if !ok {
		return p.name + " missing"
	}
	out, _ := exec.CommandContext(ctx, path, p.version...).CombinedOutput() // wrk exits with 1
	return p.name + " " + versionNumber.FindString(string(out))
}

// missing returns which of names are not installed, and what to do about it.
func missing(names []string) (absent []string, advice string) {
	for _, p := range programs {
		for _, name := range names {
			if _, ok := p.find(); p.name == name && !ok {
				absent = append(absent, name)
			}
		}
	}
	if len(absent) > 0 {
		advice = fmt.Sprintf("%s left out, because not installed: apt-get install %s", strings.Join(absent, ", "), strings.Join(absent, " "))
	}
	return absent, advice
}

// packagedConfig makes each peer keep its connections, on both sides, and write no access log. Otherwise
// it is what the package brings. The verbs are the directory, the address and the backend's.
var packagedConfig = map[target]struct {
	file, text string
	args       []string // before the file
}{
	nginxProxy: {"nginx.conf", `daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path %[1]s/nginx-body;
	proxy_temp_path %[1]s/nginx-proxy;
	fastcgi_temp_path %[1]s/nginx-fastcgi;
	uwsgi_temp_path %[1]s/nginx-uwsgi;
	scgi_temp_path %[1]s/nginx-scgi;
	keepalive_requests 1000000000;
	upstream backend { server %[3]s; keepalive 1024; keepalive_requests 1000000000; }
	server {
		listen %[2]s;
		location / {
			proxy_pass http://backend;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
		}
	}
}
`, []string{"-e", "stderr", "-c"}},
	haproxyProxy: {"haproxy.cfg", `# %[1]s
global
	maxconn 4096
defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
	option forwardfor
	http-reuse always
frontend clients
	bind %[2]s
	default_backend orders
backend orders
	server one %[3]s
`, []string{"-db", "-f"}},
	caddyProxy: {"Caddyfile", `# %[1]s
{
	admin off
	auto_https off
}
http://%[2]s {
	reverse_proxy %[3]s {
		transport http {
			keepalive_idle_conns_per_host 1024
		}
	}
}
`, []string{"run", "--adapter", "caddyfile", "--config"}},
}

// startPackaged starts nginx, HAProxy or Caddy.
func (s *starter) startPackaged(ctx context.Context, t target) (*running, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	c := packagedConfig[t]
	file := filepath.Join(s.dir, c.file)
	if err := os.WriteFile(file, fmt.Appendf(nil, c.text, s.dir, addr, s.upstream), 0o600); err != nil {
		return nil, err
	}
	path, _ := program{name: string(t)}.find()
	cmd := exec.Command(path, append(c.args, file)...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir)
	p, err := startProcess(s.dir, string(t), cmd)
	if err != nil {
		return nil, err
	}
	r := &running{processes: []*process{p}, addresses: []string{addr}}
	return r, r.ready(ctx, dialable(addr))
}
