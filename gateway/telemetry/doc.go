// Package telemetry is the one observer of the gateway: spans, metrics and one wide event per request.
//
// What it can express is fixed. Routes and upstreams are handles made at start-up, states, problems
// and outcomes are closed sets, everything else is a number, an operation id or a trace id. There is
// no field for a key, a body, a header or a path, so that none of them can reach a log, a metric or a
// trace; paths appear as templates.
//
// It uses the OpenTelemetry API and log/slog. Which exporters there are, if any, is decided where the
// providers are made.
package telemetry
