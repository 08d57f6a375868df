package gateway

import (
	"maps"
	"net/http"
	"reflect"
	"testing"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/upstream"
	"github.com/onceway/onceway/idempotency"
)

func TestSettle(t *testing.T) {
	policy := &config.Idempotency{NotExecutedStatuses: []int{401, 421, 425, 429}, UnknownStatuses: []int{502, 503, 504}}
	answered := func(status int) upstream.Outcome {
		return upstream.Answered{Status: status, Header: http.Header{}, Body: []byte("x"), Length: 1}
	}
	for _, tt := range []struct {
		name    string
		outcome upstream.Outcome
		move    move
		cause   idempotency.Cause
	}{
		{"created", answered(201), complete, ""},
		{"client error", answered(400), complete, ""},
		{"conflict", answered(409), complete, ""},
		{"server error", answered(500), complete, ""},
		{"not implemented", answered(501), complete, ""},
		{"redirect", answered(303), complete, ""},
		{"unauthorized", answered(401), release, "status-401"},
		{"throttled", answered(429), release, "status-429"},
		{"bad gateway", answered(502), doubt, "status-502"},
		{"unavailable", answered(503), doubt, "status-503"},
		{"gateway timeout", answered(504), doubt, "status-504"},
		{"not sent", upstream.NotSent{Cause: upstream.CauseDialFailed}, release, upstream.CauseDialFailed},
		{"unknown", upstream.Unknown{Cause: upstream.CauseTimeout, Timeout: true}, doubt, upstream.CauseTimeout},
		{"nothing at all", nil, doubt, "unclassified"},
	} {
		got := settle(tt.outcome, policy, 2)
		if got.move != tt.move || got.cause != tt.cause {
			t.Errorf("%s: %v because of %q, want %v because of %q", tt.name, got.move, got.cause, tt.move, tt.cause)
		}
	}
	if both := settle(answered(401), &config.Idempotency{NotExecutedStatuses: []int{401}, UnknownStatuses: []int{401}}, 1); both.move != doubt {
		t.Error("a status in both lists must be in doubt")
	}
	if spilled := settle(upstream.Answered{Status: 201, Header: http.Header{}, Spill: new(upstream.Spill), Length: 9}, policy, 1); spilled.move != complete || spilled.response.Replayable {
		t.Error("an answer too large for memory completes without a body")
	}
}

// A proof goes on to those who wait, without what is of the first caller's answer alone.
func TestSettleForThoseWhoWait(t *testing.T) {
	policy := &config.Idempotency{NotExecutedStatuses: []int{429}, DropHeaders: []string{"X-Secret"}}
	all := http.Header{"Retry-After": {"3"}, "Date": {"then"}, "Set-Cookie": {"a=1"}, "Www-Authenticate": {"Basic"},
		"Access-Control-Allow-Origin": {"https://a.test"}, "Ratelimit": {"x"}, "X-Secret": {"s"}}
	got := settle(upstream.Answered{Status: 429, Header: maps.Clone(all), Body: []byte("x"), Length: 1}, policy, 1)
	if !reflect.DeepEqual(got.live.header, all) {
		t.Errorf("the first caller gets %v", got.live.header)
	}
	if want := map[string][]string{"Retry-After": {"3"}}; !reflect.DeepEqual(got.response.Header, want) {
		t.Errorf("those who wait get %v", got.response.Header)
	}
}

// A later attempt of a route that resends may hear of the one before it: that is no answer to itself.
func TestSettleInProgress(t *testing.T) {
	policy := config.Idempotency{OnUnknown: config.OnUnknownResend, InProgressStatuses: []int{409, 425}, NotExecutedStatuses: []int{401, 421, 425, 429}}
	hold := policy
	hold.OnUnknown = config.OnUnknownHold
	for _, tt := range []struct {
		policy *config.Idempotency
		n      int
		status int
		want   move
	}{
		{&policy, 1, 409, complete}, {&policy, 1, 425, release}, {&policy, 1, 429, release},
		{&policy, 2, 409, doubt}, {&policy, 2, 425, doubt}, {&policy, 3, 409, doubt}, {&policy, 2, 429, release}, {&policy, 2, 201, complete},
		{&hold, 2, 409, complete}, {&hold, 2, 425, release},
	} {
		got := settle(upstream.Answered{Status: tt.status, Header: http.Header{}}, tt.policy, tt.n)
		if got.move != tt.want || got.live == nil {
			t.Errorf("%v, attempt %d, status %d: %v, want %v", tt.policy.OnUnknown, tt.n, tt.status, got.move, tt.want)
		}
	}
}
