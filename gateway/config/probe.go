package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// operationTemplate stands for the operation's UUID in the URL of a probe.
const operationTemplate = "{operation}"

// checkProbe finds what is wrong with how a route asks its backend. A probe that is spelled out and not
// used is checked, too: it is there to be switched on in a hurry.
func (d *decoder) checkProbe(at string, i *Idempotency) {
	p := &i.Probe
	if p.URL != "" {
		if message, hint := checkProbeURL(p.URL); message != "" {
			d.addAt(at+".probe.url", message, hint)
		}
	} else if i.OnUnknown == OnUnknownProbe {
		d.addAt(at+".probe.url", "is missing: on_unknown: probe asks the backend at this URL", probeExample)
	}
	for _, status := range p.Executed {
		if slices.Contains(p.Absent, status) {
			path := at + ".probe.absent"
			if !d.given(path) {
				path = at + ".probe.executed"
			}
			d.addAt(path, fmt.Sprintf("%d is in both executed and absent", status), "it says that the operation was executed, or that it was not found")
		}
	}
}

const probeExample = "write it as in http://127.0.0.1:9000/operations/" + operationTemplate

// checkProbeURL never repeats the URL: people put tokens into queries.
func checkProbeURL(s string) (message, hint string) {
	if !strings.Contains(s, operationTemplate) {
		return "does not contain " + operationTemplate + ", so that every operation would be asked about by the same URL", probeExample
	}
	u, err := url.Parse(strings.ReplaceAll(s, operationTemplate, "00000000-0000-8000-8000-000000000000"))
	switch {
	case err != nil:
		return "is not a URL", probeExample
	case u.Scheme != "http" && u.Scheme != "https":
		return "must begin with http:// or https://", probeExample
	case u.User != nil:
		return "must not contain a user or password", "put a credential into probe.headers"
	case u.Opaque != "" || !isHost(u.Hostname()) || strings.HasSuffix(u.Host, ":"):
		return "has no valid host", probeExample
	case strings.Contains(s, "#"):
		return "must not contain a fragment", probeExample
	case strings.Contains(u.Host, "00000000-0000-8000-8000-000000000000"):
		return "has " + operationTemplate + " in its host", probeExample
	}
	return "", ""
}

// checkProbeHeader checks one field that goes with every probe of a route.
func checkProbeHeader(name string) (message, hint string) {
	if perHop[name] || ours[name] || strings.HasPrefix(name, "Onceway-") {
		return name + " is not for you to set: it has another meaning", "probe.headers is for a credential, as in Authorization"
	}
	return "", ""
}

// redactHeaders hides the values, which may be credentials.
func redactHeaders(headers map[string]string) pairs {
	shown := pairs{}
	for name := range headers {
		shown = append(shown, pair{name, redacted})
	}
	slices.SortFunc(shown, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	return shown
}
