package reconcile

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// wantsEvents reports whether a client asks for a stream of events by that name, and does not prefer JSON to it
// (RFC 9110, section 12.5.1). A wildcard is no wish for a stream: who does not know of it gets the list.
func wantsEvents(h http.Header) bool {
	weight := weightOf(h, eventStream)
	return weight > 0 && weight >= weightOf(h, "application/json", "application/*", "*/*")
}

// weightOf returns the weight of the first of some media ranges that Accept names; 0 if it names none of them. A
// member that cannot be read is not there.
func weightOf(h http.Header, ranges ...string) float64 {
	weights := map[string]float64{}
	for _, line := range h.Values("Accept") {
		for member := range strings.SplitSeq(line, ",") {
			kind, params, err := mime.ParseMediaType(member)
			weight := 1.0
			if q, ok := params["q"]; ok && err == nil {
				weight, err = strconv.ParseFloat(q, 64)
			}
			if err == nil && weight >= 0 && weight <= 1 {
				weights[kind] = max(weights[kind], weight)
			}
		}
	}
	for _, r := range ranges {
		if weight, ok := weights[r]; ok {
			return weight
		}
	}
	return 0
}
