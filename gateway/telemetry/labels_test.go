package telemetry

import "testing"

func TestIsWord(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "timeout": true, "earlier-attempt-in-doubt": true, "not_sent": true, "status-503": true,
		"status-5031": false, "status-5a3": false, "status-": true, "Timeout": false, "a b": false, "order-7": false,
		"0190a3f2-7c11-7abc-8def-0123456789ab": false, "abcdefghijklmnopqrstuvwxyzabcdefg": false, "é": false,
	} {
		if got := isWord(s); got != want {
			t.Errorf("isWord(%q) = %v, want %v", s, got, want)
		}
	}
}
