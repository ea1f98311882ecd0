package client

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"go.yaml.in/yaml/v3"

	"tailweir/otlp"
	"tailweir/receiver"
)

// topic is a publisher in memory.
type topic struct {
	mu       sync.Mutex
	tries    int
	fail     int // so many times
	messages []message
}

type message struct {
	data  []byte // inflated
	attrs map[string]string
}

func (p *topic) Publish(_ context.Context, data []byte, attrs map[string]string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tries++; p.tries <= p.fail {
		return io.ErrUnexpectedEOF
	}
	data = bytes.Clone(data)
	if attrs[otlp.AttrContentEncoding] == otlp.EncodingGzip {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return err
		}
		if data, err = io.ReadAll(z); err != nil {
			return err
		}
	}
	p.messages = append(p.messages, message{data, maps.Clone(attrs)})
	return nil
}

func (p *topic) all() []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.messages
}

// serve starts the receiver on loopback. Metrics go to the same topic.
func serve(t *testing.T, to *topic, cfg receiver.Config) (*receiver.Receiver, string) {
	t.Helper()
	cfg.Metrics, cfg.Logger = to, slog.New(slog.DiscardHandler)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := receiver.New(to, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r, l.Addr().String()
}

// The collector's exporters, by their names in docs/collector.md.
var factories = map[string]exporter.Factory{
	"otlp_http": otlphttpexporter.NewFactory(),
	"otlp_grpc": otlpexporter.NewFactory(),
}

// documented is the exporters of docs/collector.md's first block.
func documented(t *testing.T) map[string]any {
	t.Helper()
	doc, err := os.ReadFile("../../docs/collector.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(exporters:.*?)```").FindSubmatch(doc)
	if block == nil {
		t.Fatal("docs/collector.md has no exporters")
	}
	var file struct{ Exporters map[string]any }
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(string(block[1]), "${env:TAILWEIR_KEY}", "the-key")), &file); err != nil {
		t.Fatal(err)
	}
	return file.Exporters
}

// collector is one of the collector's exporters, for all signals, as docs/collector.md configures it, but for the address and what the
// change says.
type collector struct {
	consumer.Traces
	consumer.Logs
	consumer.Metrics
	logged *observer.ObservedLogs
}

func start(t *testing.T, kind, addr string, change map[string]any) *collector {
	t.Helper()
	factory := factories[kind]
	settings, known := documented(t)[kind+"/tailweir"].(map[string]any)
	if !known {
		t.Fatalf("docs/collector.md has no %s/tailweir", kind)
	}
	settings["endpoint"] = addr
	settings["tls"] = map[string]any{"insecure": true}
	if kind == "otlp_http" {
		settings["endpoint"] = "http://" + addr
	}
	// Without a queue a call returns what became of the data.
	settings["sending_queue"] = map[string]any{"enabled": false}
	retry := settings["retry_on_failure"].(map[string]any)
	retry["initial_interval"] = "20ms"
	maps.Copy(settings, change)
	cfg := factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(settings).Unmarshal(cfg); err != nil {
		t.Fatal(err)
	}
	core, logged := observer.New(zap.InfoLevel)
	set := exporter.Settings{ID: component.NewIDWithName(factory.Type(), "tailweir"), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	set.Logger = zap.New(core)
	c := &collector{logged: logged}
	run := func(e component.Component, err error) {
		if err == nil {
			err = e.Start(t.Context(), componenttest.NewNopHost())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	traces, err := factory.CreateTraces(t.Context(), set, cfg)
	run(traces, err)
	logs, err := factory.CreateLogs(t.Context(), set, cfg)
	run(logs, err)
	metrics, err := factory.CreateMetrics(t.Context(), set, cfg)
	run(metrics, err)
	c.Traces, c.Logs, c.Metrics = traces, logs, metrics
	return c
}

// within bounds a call that may have to retry.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
