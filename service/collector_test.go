package service

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/exporter/exportertest"
	"tailweir/otlp"
	"tailweir/queue"
)

// collectorsMessage is a message as the collector's Pub/Sub exporter is documented to send it.
func collectorsMessage(t *testing.T, payload []byte, signal, compression string) ([]byte, map[string]string) {
	t.Helper()
	attrs := map[string]string{
		"ce-specversion": "1.0", "ce-id": "b5f2b3a0-3c2e-4a53-8f0a-0d1c5b1f7a10", "ce-source": "/opentelemetry/collector/googlecloudpubsub/v0.161.0",
		"ce-time": "2026-11-24T12:00:00.123456789Z", "ce-type": "org.opentelemetry.otlp." + signal + ".v1", "content-type": "application/protobuf",
	}
	if compression == "" {
		return payload, attrs
	}
	attrs["content-encoding"] = compression
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(payload)
	_ = w.Close()
	return out.Bytes(), attrs
}

// Workers take the messages of the collector's Pub/Sub exporter, compressed or not, of all three signals.
func TestCollectorsMessages(t *testing.T) {
	for _, compression := range []string{"", "gzip"} {
		t.Run("compression "+compression, func(t *testing.T) {
			t.Parallel()
			p, backend := newForwardingProcess(t), exportertest.NewHTTP(t, nil)
			w := p.worker(backend, metricsOn(backend))
			ld := plog.NewLogs()
			ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("hello")
			logs, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []struct {
				topic, signal string
				payload       []byte
			}{
				{p.cfg.Queue.Topic, "traces", spanPayload(1, 1, true, true)},
				{p.cfg.Queue.Topic, "logs", logs},
				{p.cfg.Queue.Metrics, "metrics", metricPayload("m", 2)},
			} {
				data, attrs := collectorsMessage(t, m.payload, m.signal, compression)
				publisher := p.client.Publisher(m.topic, queue.PublisherConfig{})
				if err := publisher.Publish(t.Context(), data, attrs); err != nil {
					t.Fatal(err)
				}
				publisher.Close()
			}
			poll(t, "not all of the collector's messages were taken", func() bool {
				return len(spansAt(t, backend, 0)) == 1 && len(recordsAt(t, backend)) == 1 && len(metricsAt(t, backend)) == 1
			})
			if s := w.w.forward.Stats(); s.DeadLettered.Messages != 0 || w.totals().DeadLettered.Spans != 0 {
				t.Errorf("dead letters: %+v", s)
			}
		})
	}
}

// receivedAs tells what the collector's Pub/Sub receiver takes a message for, by its documented rules, and unmarshals it.
func receivedAs(data []byte, attrs map[string]string) (signal string, err error) {
	if !strings.HasSuffix(attrs["content-type"], "application/protobuf") {
		return "unknown encoding", nil
	}
	if attrs["content-encoding"] == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return "", err
		}
		if data, err = io.ReadAll(z); err != nil {
			return "", err
		}
	}
	switch attrs["ce-type"] {
	case "org.opentelemetry.otlp.traces.v1":
		_, err = (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(data)
		return "traces", err
	case "org.opentelemetry.otlp.metrics.v1":
		_, err = (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(data)
		return "metrics", err
	case "org.opentelemetry.otlp.logs.v1":
		_, err = (&plog.ProtoUnmarshaler{}).UnmarshalLogs(data)
		return "logs", err
	}
	return "unknown encoding", nil
}

// What the ingest and the worker publish is what the collector's Pub/Sub receiver takes, whatever way it came.
func TestMessagesForTheCollector(t *testing.T) {
	p := newForwardingProcess(t)
	for _, topic := range []string{p.cfg.Queue.Topic, p.cfg.Queue.Metrics} {
		err := p.client.CreateSubscription(t.Context(), queue.SubscriptionConfig{Subscription: topic + "-archive", Topic: topic})
		if err != nil {
			t.Fatal(err)
		}
	}
	backend := exportertest.NewHTTP(t, nil)
	p.worker(backend, metricsOn(backend)) // publishes ticks
	zipped, _ := collectorsMessage(t, spanPayload(1, 1, true, false), "traces", "gzip")
	for _, send := range []struct {
		path, encoding string
		body           []byte
	}{
		{"/v1/traces", "", spanPayload(2, 1, true, false)},
		{"/v1/traces", "gzip", zipped},
		{"/v1/metrics", "", metricPayload("m", 1)},
	} {
		req, err := http.NewRequest(http.MethodPost, p.otlp+send.path, bytes.NewReader(send.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("Content-Encoding", send.encoding)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	p.sendLog(1, "hello")
	var mu sync.Mutex
	got := map[string]int{}
	ticks := 0
	for _, topic := range []string{p.cfg.Queue.Topic, p.cfg.Queue.Metrics} {
		sub := p.client.Subscriber(topic+"-archive", queue.SubscriberConfig{Logger: quiet})
		background(t, func(ctx context.Context) error {
			return sub.Run(ctx, func(m *queue.Message) {
				defer m.Ack()
				signal, err := receivedAs(m.Data, m.Attributes)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("%s with %v: %v", signal, m.Attributes, err)
				}
				if m.Attributes[otlp.AttrTick] != "" {
					ticks++
				} else {
					got[signal]++
				}
				if signal == "unknown encoding" {
					t.Errorf("a message with %v is not known", m.Attributes)
				}
			})
		})
	}
	poll(t, "the messages are not all known", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return got["traces"] == 2 && got["logs"] == 1 && got["metrics"] == 1 && ticks > 0
	})
}
