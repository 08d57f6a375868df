package client

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// What is no gateway's, such as a captive portal's page for every address, tells no facts.
func TestDiscoverBelievesTheGatewayAlone(t *testing.T) {
	signed := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if signed {
			w.Header().Set("Idempotency-State", "unseen")
		}
		fmt.Fprint(w, `{"base_path":"/ask","wait":{"max":20}}`)
	}))
	defer server.Close()
	if facts, err := Discover(t.Context(), nil, server.URL); err == nil {
		t.Errorf("believed: %+v", facts)
	}
	signed = true
	if facts, err := Discover(t.Context(), nil, server.URL); err != nil || facts.BasePath != "/ask" || facts.MaxWait != 20*time.Second {
		t.Errorf("%+v, %v", facts, err)
	}
}
