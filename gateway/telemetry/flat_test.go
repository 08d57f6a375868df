package telemetry_test

import "go.opentelemetry.io/otel/attribute"

// flat turns attributes into what can be compared and printed.
func flat(kv []attribute.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range kv {
		m[string(a.Key)] = a.Value.String()
	}
	return m
}
