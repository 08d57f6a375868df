package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// programs are PostgreSQL's server programs, and the user that runs them: they refuse root.
type programs struct {
	initdb, postgres string
	credential       *syscall.Credential // nil: ours
}

var errNoPrograms = errors.New(`PostgreSQL's server programs (initdb, postgres) are not to be found.
  Debian, Ubuntu:  apt-get install postgresql
  Fedora, RHEL:    dnf install postgresql-server
  macOS:           brew install postgresql
or point ONCEWAY_TEST_POSTGRES to a server on which the tests may create databases`)

func findPrograms() (programs, error) {
	for _, dir := range candidates() {
		p := programs{initdb: filepath.Join(dir, "initdb"), postgres: filepath.Join(dir, "postgres")}
		if executable(p.initdb) && executable(p.postgres) {
			var err error
			p.credential, err = unprivileged()
			return p, err
		}
	}
	return programs{}, errNoPrograms
}

// findProgram finds a further program of the server's.
func findProgram(name string) (string, error) {
	for _, dir := range candidates() {
		if path := filepath.Join(dir, name); executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("PostgreSQL's %s is not to be found: install the server's package", name)
}

// candidates lists directories, best first: what the user put into PATH, what pg_config says, then
// where distributions put them, the highest version first.
func candidates() []string {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
	} {
		found, _ := filepath.Glob(pattern)
		slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
		dirs = append(dirs, found...)
	}
	return dirs
}

// version returns the first number in a path, or 0.
func version(path string) int {
	digit := func(r rune) bool { return r >= '0' && r <= '9' }
	i := strings.IndexFunc(path, digit)
	if i < 0 {
		return 0
	}
	rest := path[i:]
	if j := strings.IndexFunc(rest, func(r rune) bool { return !digit(r) }); j >= 0 {
		rest = rest[:j]
	}
	n, _ := strconv.Atoi(rest)
	return n
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// unprivileged returns whom to run as when we are root.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("postgres refuses to run as root, and there is neither a user postgres nor nobody")
}

func (p programs) own(dir string) error {
	if p.credential == nil {
		return nil
	}
	return os.Chown(dir, int(p.credential.Uid), int(p.credential.Gid))
}

func (p programs) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Credential: p.credential, Setpgid: true}
	endWithParent(attr)
	return attr
}
