// An HTTP server and its client in one process, instrumented by the OpenTelemetry SDK for Go.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

var (
	tracer = otel.Tracer("tailweir/e2e/record/gosdk", trace.WithInstrumentationVersion("2.0.0"))
	errNo  = errors.New("basket: no price for unsellable")
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run takes everything from the environment, as an app does, but leaves out the detectors of host and process.
func run(ctx context.Context) error {
	res, err := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return err
	}
	spans, err := otlptracehttp.New(ctx)
	if err != nil {
		return err
	}
	records, err := otlploghttp.New(ctx)
	if err != nil {
		return err
	}
	traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans), sdktrace.WithResource(res))
	logs := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(records)), sdklog.WithResource(res))
	otel.SetTracerProvider(traces)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	s := shop{
		log:    otelslog.NewLogger("checkout", otelslog.WithLoggerProvider(logs), otelslog.WithSource(true)),
		events: logs.Logger("events", log.WithInstrumentationVersion("2.0.0")),
	}
	if err := s.day(ctx); err != nil {
		return err
	}
	return errors.Join(traces.Shutdown(ctx), logs.Shutdown(ctx))
}

type shop struct {
	log    *slog.Logger
	events log.Logger
}

func (s shop) day(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /order/{basket}", s.serve)
	server := httptest.NewServer(otelhttp.NewHandler(mux, "shop"))
	defer server.Close()
	client := http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport)}
	var links []trace.Link
	for _, basket := range []string{"apple,pear", "unsellable"} {
		ctx, span := tracer.Start(ctx, "checkout")
		links = append(links, trace.Link{SpanContext: span.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("basket", basket)}})
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/order/"+basket+"?from=cart", strings.NewReader(basket))
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		response.Body.Close()
		span.End()
	}
	ctx, span := tracer.Start(ctx, "nightly report", trace.WithLinks(links...), trace.WithSpanKind(trace.SpanKindProducer))
	s.event(ctx, "report.written", log.SeverityInfo2, attribute.ByteSliceValue([]byte("report")))
	span.End()
	s.log.Error("shop closes", "code", 3)
	return nil
}

func (s shop) serve(w http.ResponseWriter, r *http.Request) {
	ctx, basket := r.Context(), r.PathValue("basket")
	s.log.DebugContext(ctx, "serving", "basket", strings.Split(basket, ","), slog.Group("client", "agent", r.UserAgent()))
	if err := s.charge(ctx, basket); err != nil {
		s.log.WarnContext(ctx, "order refused", "error", err, "retry", false)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	s.log.InfoContext(ctx, "order placed", "total", 15.5, "gcp.log_name", "orders")
	s.event(ctx, "order.placed", log.SeverityInfo, attribute.MapValue(
		attribute.Int("id", 4711), attribute.StringSlice("items", strings.Split(basket, ",")), attribute.Bool("paid", true), attribute.Float64("total", 15.5)))
}

func (s shop) charge(ctx context.Context, basket string) error {
	ctx, span := tracer.Start(ctx, "charge", trace.WithAttributes(
		attribute.StringSlice("shop.items", strings.Split(basket, ",")), attribute.Float64Slice("shop.prices", []float64{12.5, 3}),
		attribute.Int64Slice("shop.amounts", []int64{1, 2}), attribute.BoolSlice("shop.gift", []bool{true, false}), attribute.Float64("shop.total", 15.5)))
	defer span.End()
	span.AddEvent("card.checked", trace.WithAttributes(attribute.String("card.network", "visa"), attribute.Int("attempt", 1)))
	if basket != "unsellable" {
		return nil
	}
	span.RecordError(errNo, trace.WithStackTrace(true))
	span.SetStatus(codes.Error, errNo.Error())
	s.log.ErrorContext(ctx, "charge failed", "error", errNo)
	return errNo
}

// event is a record whose body is more than a text, which slog cannot make.
func (s shop) event(ctx context.Context, name string, severity log.Severity, body attribute.Value) {
	var r log.Record
	r.SetEventName(name)
	r.SetSeverity(severity)
	r.SetSeverityText(severity.String())
	r.SetBody(body)
	s.events.Emit(ctx, r)
}
