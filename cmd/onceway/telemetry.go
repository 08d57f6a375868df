package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/onceway/onceway/gateway/config"
)

// telemetrySetup is where the process's log, traces and metrics go.
type telemetrySetup struct {
	log     *slog.Logger
	tracer  trace.TracerProvider
	meter   metric.MeterProvider
	metrics http.Handler // Prometheus text, always there
	lines   *lineWriter
	stops   []func(context.Context) error
}

// setUpTelemetry sends traces and metrics where the standard OTEL_* variables say, and nowhere if none
// of them asks for it. There are valid trace ids in any case: records and logs carry them.
func setUpTelemetry(ctx context.Context, c *config.Config, logTo io.Writer) (_ *telemetrySetup, err error) {
	t := &telemetrySetup{lines: newLineWriter(logTo)}
	defer func() {
		if err != nil {
			_ = t.shutdown(ctx)
		}
	}()
	t.log = newLog(c.Log, t.lines)
	// OpenTelemetry reports its own troubles to one handler of the process, and what it notes to one logger.
	otel.SetLogger(logr.FromSlogHandler(unquoted{t.log.Handler()}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.log.Warn("telemetry", "error", err.Error()) }))
	who, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("onceway"), semconv.ServiceVersion(version())),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // last: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	)
	if errors.Is(err, resource.ErrPartialResource) {
		// A comma too many must not keep a gateway down.
		t.log.Warn("telemetry: some resource attributes are left out", "error", err.Error())
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	if err := t.traces(ctx, who); err != nil {
		return nil, fmt.Errorf("telemetry: traces, by OTEL_TRACES_EXPORTER and OTEL_EXPORTER_OTLP_PROTOCOL: %w", err)
	}
	if err := t.measures(ctx, who); err != nil {
		return nil, fmt.Errorf("telemetry: metrics, by OTEL_METRICS_EXPORTER and OTEL_EXPORTER_OTLP_PROTOCOL: %w", err)
	}
	return t, nil
}

func (t *telemetrySetup) traces(ctx context.Context, who *resource.Resource) error {
	if !asked("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
		// Spans that are dropped at their start cost little and still have ids.
		t.tracer = sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
		return nil
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(who))
	t.stops = append(t.stops, provider.Shutdown)
	t.tracer = provider
	otel.SetTracerProvider(provider) // for the store's driver
	return nil
}

func (t *telemetrySetup) measures(ctx context.Context, who *resource.Resource) error {
	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return err
	}
	opts := []sdkmetric.Option{sdkmetric.WithReader(reader), sdkmetric.WithResource(who)}
	if asked("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") {
		pushed, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return err
		}
		opts = append(opts, sdkmetric.WithReader(pushed))
	}
	provider := sdkmetric.NewMeterProvider(opts...)
	t.stops = append(t.stops, provider.Shutdown)
	t.meter = provider
	t.metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	return nil
}

// shutdown sends what is waiting, the log last: for that there is a moment in any case.
func (t *telemetrySetup) shutdown(ctx context.Context) error {
	var errs []error
	for _, stop := range t.stops {
		errs = append(errs, stop(ctx))
	}
	t.lines.stop(lastLines)
	return errors.Join(errs...)
}

// asked reports whether the environment asks for an exporter: by its kind, its own endpoint, or the
// endpoint of all signals (OpenTelemetry's environment variable specification).
func asked(kind, endpoint string) bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv(kind) == "none" {
		return false
	}
	return os.Getenv(kind) != "" || os.Getenv(endpoint) != "" || os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != ""
}
