package e2e_test

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const spansPerCheckout = 4

// app is two services instrumented with the Go SDK, each with exporters of its own, so that the spans of one trace arrive
// in two payloads that also hold spans of others.
type app struct {
	shop, payments trace.Tracer
	logger         log.Logger
	traces         []*sdktrace.TracerProvider
	logs           *sdklog.LoggerProvider
	service        string
}

// newApp makes an app that sends to endpoint, http://host:port; protocol is "http/protobuf" or "grpc".
func newApp(t *testing.T, endpoint, protocol, service string) *app {
	t.Helper()
	ctx, a := t.Context(), &app{service: service}
	provider := func(name string) *sdktrace.TracerProvider {
		var exporter sdktrace.SpanExporter
		var err error
		if protocol == "grpc" {
			exporter, err = otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint))
		} else {
			exporter, err = otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"))
		}
		if err != nil {
			t.Fatal(err)
		}
		p := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()),
			sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(time.Second), sdktrace.WithMaxExportBatchSize(64)), sdktrace.WithResource(named(name)))
		a.traces = append(a.traces, p)
		return p
	}
	a.shop = provider(service).Tracer("shop")
	a.payments = provider(service + " payments").Tracer("payments")
	exporter, err := otlploghttp.New(ctx, otlploghttp.WithEndpointURL(endpoint+"/v1/logs"))
	if err != nil {
		t.Fatal(err)
	}
	a.logs = sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)), sdklog.WithResource(named(service)))
	a.logger = a.logs.Logger("shop")
	t.Cleanup(func() { a.close() })
	return a
}

func named(service string) *resource.Resource {
	return resource.NewSchemaless(attribute.String("service.name", service))
}

// checkout makes one trace of spansPerCheckout spans with one log record. A slow one has taken 1.5 s, a fast one 20 ms.
func (a *app) checkout(kind string) sentTrace {
	took := 20 * time.Millisecond
	if kind == "slow" {
		took = 1500 * time.Millisecond
	}
	end := time.Now()
	begin := end.Add(-took)
	from, to := trace.WithTimestamp(begin), trace.WithTimestamp(end)
	ctx, root := a.shop.Start(context.Background(), "POST /checkout", from, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("cart.kind", kind)))
	_, read := a.shop.Start(ctx, "SELECT carts", from, trace.WithSpanKind(trace.SpanKindClient))
	read.End(to)
	ctx, call := a.shop.Start(ctx, "call payments", from, trace.WithSpanKind(trace.SpanKindClient))
	_, charge := a.payments.Start(ctx, "charge card", from, trace.WithSpanKind(trace.SpanKindServer))
	if kind == "error" {
		charge.SetStatus(codes.Error, "card refused")
	}
	a.record(ctx, "charging the card, "+kind+" checkout")
	charge.End(to)
	call.End(to)
	root.End(to)
	return sentTrace{ID: root.SpanContext().TraceID().String(), Kind: kind}
}

func (a *app) record(ctx context.Context, body string) {
	var r log.Record
	r.SetTimestamp(time.Now())
	r.SetSeverity(log.SeverityWarn)
	r.SetSeverityText("WARN")
	r.SetBody(attribute.StringValue(body))
	a.logger.Emit(ctx, r)
}

// traffic is an error, a slow trace, and fast ones, and waits until all is delivered.
func (a *app) traffic(t *testing.T, fast int) []sentTrace {
	t.Helper()
	sent := []sentTrace{a.checkout("error"), a.checkout("slow")}
	for range fast {
		sent = append(sent, a.checkout("fast"))
	}
	a.flush(t)
	return sent
}

func (a *app) flush(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, p := range a.traces {
		if err := p.ForceFlush(ctx); err != nil {
			t.Fatalf("flush spans: %v", err)
		}
	}
	if err := a.logs.ForceFlush(ctx); err != nil {
		t.Fatalf("flush log records: %v", err)
	}
}

// close runs after the server may have gone, so it waits for nothing.
func (a *app) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, p := range a.traces {
		p.Shutdown(ctx)
	}
	a.logs.Shutdown(ctx)
}

// countsOf is what traffic has sent.
func countsOf(sent []sentTrace) counts {
	return counts{Spans: spansPerCheckout * len(sent), Logs: len(sent)}
}
