package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Facts are what a client may rely on of a gateway.
type Facts struct {
	BasePath  string        // of the reconciliation API; default /_reconcile/v1
	KeyHeader string        // default Idempotency-Key
	MaxWait   time.Duration // the longest that an answer is held; default 30 s
	MaxBody   int64         // the largest request that every protected route takes, in bytes; 0 = not known
	Retention time.Duration // for how long records are kept; 0 = not known
	Clock     time.Time     // the gateway's, when it was asked
}

func (f Facts) orDefault() Facts {
	if f.BasePath == "" {
		f.BasePath = "/_reconcile/v1"
	}
	if f.KeyHeader == "" {
		f.KeyHeader = "Idempotency-Key"
	}
	if f.MaxWait <= 0 {
		f.MaxWait = 30 * time.Second
	}
	return f
}

// Discover reads /.well-known/idempotency at an origin, such as https://shop.example. base may be nil, for
// http.DefaultTransport. The error says that no gateway answered there.
func Discover(ctx context.Context, base http.RoundTripper, origin string) (Facts, error) {
	if base == nil {
		base = http.DefaultTransport
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/.well-known/idempotency", nil)
	if err != nil {
		return Facts{}, err
	}
	resp, err := base.RoundTrip(r)
	if err != nil {
		return Facts{}, err
	}
	defer resp.Body.Close()
	var said struct {
		BasePath  string              `json:"base_path"`
		KeyHeader string              `json:"key_header"`
		Retention struct{ Key int64 } `json:"retention"`
		Wait      struct{ Max int64 } `json:"wait"`
		Limits    struct {
			RequestBody int64 `json:"request_body"`
		} `json:"limits"`
		ServerTime time.Time `json:"server_time"`
	}
	if _, signed := only(resp.Header, "Idempotency-State"); !signed || resp.StatusCode != http.StatusOK {
		return Facts{}, fmt.Errorf("client: no gateway answers there: %s", resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		return Facts{}, fmt.Errorf("client: no gateway answers there: %w", err)
	}
	if said.BasePath == "" {
		return Facts{}, errors.New("client: no gateway answers there")
	}
	return Facts{
		BasePath: said.BasePath, KeyHeader: said.KeyHeader, MaxBody: said.Limits.RequestBody, Clock: said.ServerTime,
		MaxWait: time.Duration(said.Wait.Max) * time.Second, Retention: time.Duration(said.Retention.Key) * time.Second,
	}, nil
}
