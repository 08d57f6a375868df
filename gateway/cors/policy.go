package cors

import (
	"strings"

	"github.com/onceway/onceway/gateway/config"
)

// Policy is the set of origins whose pages may read the answers of some addresses. The nil Policy changes no
// answer. It does not change after New, and is safe for concurrent use.
type Policy struct {
	everybody bool            // by *, without credentials
	exact     map[string]bool // origin: with credentials?
	below     []family
}

// family is all origins below a name, at any depth: https://*.example.com has the suffix .example.com.
type family struct {
	scheme, suffix string // "https://" and ".example.com" or ".example.com:8443"
	credentials    bool
}

// New returns the policy that allows what any of the settings allows; nil if they name no origin.
func New(settings ...config.CORS) *Policy {
	p := &Policy{exact: make(map[string]bool)}
	some := false
	for _, s := range settings {
		for _, origin := range s.Origins {
			some = true
			scheme, host, _ := strings.Cut(origin, "://")
			switch {
			case origin == "*":
				p.everybody = true
			case strings.HasPrefix(host, "*."):
				p.below = append(p.below, family{scheme + "://", host[1:], s.Credentials})
			default:
				p.exact[origin] = p.exact[origin] || s.Credentials
			}
		}
	}
	if !some {
		return nil
	}
	return p
}

// verdict is what a policy says about one origin.
type verdict struct {
	listed      bool // it may read
	named       bool // it is listed by more than *
	credentials bool // and may send what the browser keeps for the gateway: cookies, certificates
}

func (p *Policy) judge(origin string) verdict {
	if p == nil || origin == "" {
		return verdict{}
	}
	credentials, named := p.exact[origin]
	for _, f := range p.below {
		if f.has(origin) {
			named = true
			credentials = credentials || f.credentials
		}
	}
	return verdict{listed: named || p.everybody, named: named, credentials: credentials}
}

// has reports whether an origin belongs to the family. What stands before the suffix is a name: an origin is
// believed to be one, because a browser has made it, but nothing else may look like one.
func (f family) has(origin string) bool {
	name, ok := strings.CutPrefix(origin, f.scheme)
	if !ok {
		return false
	}
	name, ok = strings.CutSuffix(name, f.suffix)
	if !ok || name == "" {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}
