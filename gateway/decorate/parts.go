package decorate

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/openapi"
)

// prefix begins the names of the components that are ours.
const prefix = "Onceway"

// part is a component that is ours.
type part struct{ kind, name string }

func (p part) ref() string { return "#/components/" + p.kind + "/" + p.name }

// suffix tells apart what schemas of ours have been added to; "" if none has.
func (p part) suffix() string {
	if p.name == "" {
		return ""
	}
	return "_" + strings.TrimPrefix(p.name, prefix)
}

// requestFields are the parameters that every protected operation takes, beside its key.
var requestFields = []struct{ field, name, schema, about string }{
	{problem.HeaderFirstSent, "FirstSent", "{type: string, format: date-time}",
		"Date of the first attempt, for a key that carries none. A key that is older than the gateway's records is refused, not executed again."},
	{problem.HeaderDeadline, "Deadline", "{type: string, format: date-time}", "After this instant no attempt may start: 412."},
	{problem.HeaderPrefer, "Prefer", "{type: string}",
		"`wait=N`: seconds to wait for an attempt of the same key that is running. `respond-async`: 202 with the record if it is still running then."},
}

// answerFields are the headers of every answer to a protected operation.
var answerFields = []struct{ field, name, schema, about string }{
	{problem.HeaderState, "State", "{type: string, enum: [" + strings.Join(states(), ", ") + "]}",
		"What became of the request. An answer without it is not the gateway's."},
	{problem.HeaderNext, "Next", "{type: string, enum: [" + strings.Join(nexts(), ", ") + "]}",
		"What to do now: nothing, send again after Retry-After, send again, ask for the record before anything else, or stop."},
	{problem.HeaderReplayed, "Replayed", "{type: string, enum: ['true']}", "This is the stored answer of an earlier request with the same key."},
	{problem.HeaderResolved, "Resolved", "{type: string, enum: [probe, operator]}", "Who supplied the answer, where the backend's own got lost."},
	{problem.HeaderExpires, "Expires", "{type: string}", "HTTP date until which the key protects."},
	{problem.HeaderLink, "Link", "{type: string}", "The record of the operation, rel=\"status\"."},
	{problem.HeaderRetryAfter, "RetryAfter", "{type: integer, minimum: 0}", "Seconds. With wait, resend and reconcile."},
}

// states are those that an answer to a protected request can have.
func states() (all []string) {
	for s := problem.State(1); s < problem.StateCount; s++ {
		if s != problem.Completed && s != problem.Unseen {
			all = append(all, s.String())
		}
	}
	return all
}

func nexts() (all []string) {
	for n := problem.Done; n <= problem.Stop; n++ {
		all = append(all, n.String())
	}
	return all
}

// answered reports whether a protected request on a route can be answered with a problem.
func answered(s problem.Slug, c *config.Config, r *config.Route) bool {
	switch s {
	case problem.KeyMissing:
		return r.Idempotency.Mode == config.ModeRequired
	case problem.PathAmbiguous:
		return !r.RawPaths
	case problem.Unauthenticated:
		return c.Caller.None == nil
	case problem.RateLimited:
		return c.Limits.RequestsPerSecond > 0 || c.Limits.InFlight > 0 || c.Limits.Unsettled > 0
	case problem.KeyMalformed, problem.RequestMalformed, problem.RequestTooLarge, problem.KeyReused, problem.Overloaded, problem.StoreUnavailable,
		problem.InProgress, problem.BackendUnreachable, problem.OutcomeUnknown, problem.OperationCancelled, problem.ResponseForgotten,
		problem.NotSettled, // of an attempt that whoever waited for it gets no answer of
		problem.KeyTooOld, problem.DeadlinePassed, problem.RecordDamaged, problem.Internal:
		return true
	case problem.Forbidden, problem.NoRoute, problem.MethodNotAllowed, // of other addresses
		problem.OperationUnseen, problem.TooLate, problem.TooManyKeys, problem.CursorExpired, problem.UnsupportedMediaType, problem.RangeNotSatisfiable, problem.PreconditionFailed,
		problem.NoRecord, problem.EvidenceMissing, problem.AlreadySettled, problem.AttemptChanged, problem.OwnerMayHoldAnswers:
		return false
	}
	panic("decorate: no such problem: " + s.String())
}

// problemsOf returns the statuses of the problems that a protected request on a route can be answered with.
func problemsOf(c *config.Config, r *config.Route) (statuses []int) {
	for _, s := range problem.Slugs() {
		if answered(s, c, r) {
			statuses = append(statuses, statusesOf(s)...)
		}
	}
	for _, status := range r.Idempotency.NotExecutedStatuses {
		if refusal(status, r) {
			statuses = append(statuses, status)
		}
	}
	slices.Sort(statuses)
	return slices.Compact(statuses)
}

// refusal reports whether a status of a backend says that it executed nothing, and is that of the problem which
// says so to those who waited.
func refusal(status int, r *config.Route) bool {
	return problem.CanCarry(status) && slices.Contains(r.Idempotency.NotExecutedStatuses, status)
}

// statusesOf returns the statuses that a problem can have of itself.
func statusesOf(s problem.Slug) []int {
	if s == problem.OutcomeUnknown {
		return []int{s.Status(), http.StatusBadGateway, http.StatusGatewayTimeout}
	}
	return []int{s.Status()}
}

// keyPart is the parameter that takes the key.
func keyPart(r *config.Route) part {
	name := prefix + strings.ReplaceAll(r.Idempotency.Header, "-", "")
	if r.Idempotency.Mode == config.ModeOptional {
		name += "Optional"
	}
	return part{"parameters", name}
}

func keyText(r *config.Route) string {
	about := "One value for each thing that the user wants to happen, the same for every retry of it; best a UUIDv7."
	if r.Idempotency.Mode == config.ModeOptional {
		about += " Without it the request is not protected."
	}
	return fmt.Sprintf("{name: %q, in: header, required: %v, description: %q, schema: {type: string, minLength: 1, maxLength: 255}}",
		r.Idempotency.Header, r.Idempotency.Mode == config.ModeRequired, about)
}

// Parts that several others name.
var (
	problemSchema = part{"schemas", prefix + "Problem"}
	recordSchema  = part{"schemas", prefix + "Record"}
)

// asyncFields are the headers of 202, beside those of every answer.
var asyncFields = []struct{ field, about string }{
	{"Location", "The record of the operation."}, {problem.HeaderPreferenceApplied, "respond-async"},
}

// problemText is the answer with problems of one status.
func problemText(status int, c *config.Config) string {
	var slugs []string
	refused := slices.ContainsFunc(c.Routes, func(r config.Route) bool { return refusal(status, &r) })
	for _, s := range problem.Slugs() {
		anyRoute := config.Route{}
		if slices.Contains(statusesOf(s), status) && answered(s, c, &anyRoute) || s == problem.NotSettled && refused {
			slugs = append(slugs, "`"+s.String()+"`")
		}
	}
	return "{description: " + strconv.Quote("Made by the gateway: "+strings.Join(slugs, ", ")+".") + ", content: {" + problem.ContentType + ": {schema: {$ref: '" + problemSchema.ref() + "'}}}}"
}

const asyncText = "{description: 'Made by the gateway for Prefer: respond-async: the request is being executed.'}"

// fragment reads a part of ours. It is written in blocks, whatever it was read from.
func fragment(text string) *yaml.Node {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		panic("decorate: " + err.Error() + ": " + text) // fixed text, and names that are headers
	}
	plain(n.Content[0])
	return n.Content[0]
}

func plain(n *yaml.Node) {
	n.Style = 0
	if get(n, "$ref") != nil || n.Kind == yaml.SequenceNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.ScalarNode {
		n.Style = yaml.FlowStyle // as people write them
	}
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	for _, c := range n.Content {
		plain(c)
	}
}

// schemas returns a schema of our own document and those that it names, by names of ours.
func schemas(name string, older bool) map[string]*yaml.Node {
	all := get(get(fragment(openapi.Reconciliation), "components"), "schemas")
	found := map[string]*yaml.Node{}
	var take func(name string)
	take = func(name string) {
		if found[prefix+name] != nil {
			return
		}
		schema := get(all, name)
		found[prefix+name] = schema
		renamed(schema, take)
		if older {
			withoutNull(schema)
		}
	}
	take(name)
	return found
}

// renamed gives the references in a schema names of ours, and tells of each.
func renamed(n *yaml.Node, found func(name string)) {
	if ref := get(n, "$ref"); ref != nil {
		if name, ok := strings.CutPrefix(ref.Value, "#/components/schemas/"); ok {
			ref.Value = "#/components/schemas/" + prefix + name
			found(name)
		}
	}
	for _, c := range n.Content {
		renamed(c, found)
	}
}

// withoutNull says of a value that it may be null as OpenAPI 3.0 does.
func withoutNull(n *yaml.Node) {
	if kinds := get(n, "type"); kinds != nil && kinds.Kind == yaml.SequenceNode && len(kinds.Content) == 2 && kinds.Content[1].Value == "null" {
		set(n, "type", kinds.Content[0])
		set(n, "nullable", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
	}
	for _, c := range n.Content {
		withoutNull(c)
	}
}
