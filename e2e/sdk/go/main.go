// Command go is the Go service of the SDK tests: net/http with otelhttp, slog with otelslog, exporters by environment variables.
// What it serves is said in ../doc.go.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"syscall"
	"time"

	"cloud.google.com/go/auth/credentials/idtoken"
	"cloud.google.com/go/auth/httptransport"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	flush, err := telemetry(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := serve(ctx); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := flush(ctx); err != nil {
		log.Print(err)
	}
}

func telemetry(ctx context.Context) (flush func(context.Context) error, err error) {
	var spans sdktrace.SpanExporter
	var records sdklog.Exporter
	withToken, err := tokenClient()
	if err != nil {
		return nil, err
	}
	if os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc" {
		spans, err = otlptracegrpc.New(ctx)
		if err == nil {
			records, err = otlploggrpc.New(ctx)
		}
	} else if withToken != nil {
		spans, err = otlptracehttp.New(ctx, otlptracehttp.WithHTTPClient(withToken))
		if err == nil {
			records, err = otlploghttp.New(ctx, otlploghttp.WithHTTPClient(withToken))
		}
	} else {
		spans, err = otlptracehttp.New(ctx)
		if err == nil {
			records, err = otlploghttp.New(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans))
	logs := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(records)))
	otel.SetTracerProvider(traces)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	otel.SetLoggerProvider(logs)
	return func(ctx context.Context) error {
		return cmp.Or(traces.Shutdown(ctx), logs.Shutdown(ctx))
	}, nil
}

// tokenClient shows a Google-signed ID token for ID_TOKEN_AUDIENCE and renews it before it expires; nil without that variable.
func tokenClient() (*http.Client, error) {
	audience := os.Getenv("ID_TOKEN_AUDIENCE")
	if audience == "" {
		return nil, nil
	}
	credentials, err := idtoken.NewCredentials(&idtoken.Options{Audience: audience})
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: 10 * time.Second} // the exporter's own is not used then
	return client, httptransport.AddAuthorizationMiddleware(client, credentials)
}

func serve(ctx context.Context) error {
	name, next := os.Getenv("OTEL_SERVICE_NAME"), os.Getenv("NEXT")
	logger := otelslog.NewLogger("shop")
	client := http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport)}
	order := func(w http.ResponseWriter, r *http.Request) {
		kind := path.Base(r.URL.Path)
		logger.InfoContext(r.Context(), name+" serves "+kind, slog.String("order.kind", kind))
		if kind == "slow" {
			time.Sleep(1200 * time.Millisecond)
		}
		if next != "" {
			call, _ := http.NewRequestWithContext(r.Context(), http.MethodGet, next+r.URL.Path, nil)
			if answer, err := client.Do(call); err == nil {
				answer.Body.Close()
			}
		} else if kind == "error" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, kind)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: otelhttp.NewHandler(http.HandlerFunc(order), "order")}
	go server.Serve(listener)
	<-ctx.Done()
	return server.Close()
}
