package reconcile

import (
	"net/http"
	"strings"
	"testing"
)

func TestWantsEvents(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "text/*": false, "application/json": false, "text/event-streams": false,
		"text/event-stream": true, "TEXT/event-stream; charset=utf-8": true, "text/html, text/event-stream;q=0.1": true,
		"text/event-stream, application/json": true, "application/json, text/event-stream": true, "text/event-stream, */*": true,
		"application/json, text/event-stream;q=0.5": false, "application/json;q=0.4, text/event-stream;Q=0.5": true,
		"text/event-stream;q=0.5, */*": false, "text/event-stream;q=0.5, */*;q=0.1": true,
		"text/event-stream;q=0.5, application/*;q=0.6": false, "text/event-stream;q=0.5, application/json;q=0.4, */*": true,
		"text/event-stream;q=0.5, application/json;q=0": true,
		"text/event-stream;q=0":                         false, "text/event-stream;q=0.000": false, "text/event-stream;q=0, application/json": false,
		"text/event-stream;q=x": false, "text/event-stream;q=NaN": false, "text/event-stream;q=-1": false, "text/event-stream;q=2": false,
		"application/json;q=0.9|text/event-stream": true, "application/json|text/event-stream;q=0.9": false,
	} {
		if got := wantsEvents(http.Header{"Accept": strings.Split(accept, "|")}); got != want {
			t.Errorf("Accept: %s: %v", accept, got)
		}
	}
}
