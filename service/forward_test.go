package service

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"tailweir/exporter/exportertest"
	"tailweir/forward"
	"tailweir/otlp"
)

// metricsOn is the configuration of a worker that forwards metrics to the backend.
func metricsOn(backend *exportertest.Backend) func(*Config) {
	return func(c *Config) {
		c.Metrics.Forward = true
		c.Exporters = []ExporterConfig{{Type: "otlp", Endpoint: backend.URL, Signals: []Signal{"traces", "logs", "metrics"}}}
	}
}

func newForwardingProcess(t *testing.T) *process {
	t.Helper()
	return newProcessWith(t, func(c *Config) { c.Metrics.Forward = true })
}

func metricPayload(name string, points int) []byte {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(name)
	gauge := m.SetEmptyGauge()
	for i := range points {
		gauge.DataPoints().AppendEmpty().SetIntValue(int64(i))
	}
	b, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		panic(err)
	}
	return b
}

// metricsAt are the names of the metrics that a backend got, sorted.
func metricsAt(t *testing.T, b *exportertest.Backend) (all []string) {
	t.Helper()
	for _, r := range b.Requests() {
		if r.Signal != otlp.Metrics {
			continue
		}
		md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(r.Payload)
		if err != nil {
			t.Fatal(err)
		}
		for _, rm := range md.ResourceMetrics().All() {
			all = append(all, rm.ScopeMetrics().At(0).Metrics().At(0).Name())
		}
	}
	slices.Sort(all)
	return all
}

func (p *process) unforwarded() int { return p.sub(p.cfg.Queue.Forward).Unacked }

// Metrics go from an app through the ingest and their own topic to the backend, beside traces, and both processes say how many.
func TestMetricsAreForwarded(t *testing.T) {
	for name, start := range map[string]func(testing.TB, *exportertest.TLS) *exportertest.Backend{
		"http": exportertest.NewHTTP, "grpc": exportertest.NewGRPC,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, backend := newForwardingProcess(t), start(t, nil)
			w := p.worker(backend, metricsOn(backend))
			p.sendTrace(1, true)
			p.post("/v1/metrics", metricPayload("a", 3))
			p.post("/v1/metrics", metricPayload("b", 4))
			poll(t, "a metric is not forwarded, or not acked", func() bool { return len(metricsAt(t, backend)) == 2 && p.unforwarded() == 0 })
			poll(t, "the trace is not exported", func() bool { return len(spansAt(t, backend, 0)) == 2 })
			want := forward.Stats{Received: forward.Count{Messages: 2, Points: 7}, Forwarded: forward.Count{Messages: 2, Points: 7}, MaxBytes: 64 << 20}
			if got := w.w.forward.Stats(); got != want {
				t.Errorf("counted %+v, want %+v", got, want)
			}
			if text := w.get("/metrics"); !strings.Contains(text, `tailweir_forward_points_total{outcome="forwarded"} 7`) {
				t.Errorf("/metrics does not say what was forwarded:\n%s", text)
			}
			if s := w.stop(); s.Metrics.Forwarded.Points != 7 || s.Undone {
				t.Errorf("summary %+v", s)
			}
		})
	}
}

// Without metrics.forward they are answered as before, and nothing of them is stored.
func TestMetricsAreRefusedByDefault(t *testing.T) {
	p := newProcess(t)
	resp, err := http.Post(p.otlp+"/v1/metrics", "application/x-protobuf", bytes.NewReader(metricPayload("a", 3)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "OTEL_METRICS_EXPORTER=none") || p.unacked() != 0 {
		t.Errorf("%s %q, %d messages", resp.Status, body, p.unacked())
	}
}

// A worker that is stopped while the backend is away gives the metrics to the next one; nothing is lost.
func TestMetricsGoToTheNextWorker(t *testing.T) {
	p, away, backend := newForwardingProcess(t), exportertest.NewHTTP(t, nil), exportertest.NewHTTP(t, nil)
	away.Script(slices.Repeat([]exportertest.Answer{{Status: 503}}, 1000)...)
	first := p.worker(away, metricsOn(away))
	p.post("/v1/metrics", metricPayload("a", 1))
	p.post("/v1/metrics", metricPayload("b", 1))
	poll(t, "the first worker does not hold both", func() bool { return first.w.Held() == 2 })
	if s := first.stop(); s.Metrics.Returned.Messages != 2 || !s.Undone {
		t.Errorf("summary %+v, want both given back", s)
	}
	p.worker(backend, metricsOn(backend))
	poll(t, "what was given back is not forwarded", func() bool { return slices.Equal(metricsAt(t, backend), []string{"a", "b"}) && p.unforwarded() == 0 })
}

// What a backend refuses becomes a dead letter as it came, with its reason, and the rest arrives.
func TestRefusedMetricsAreDeadLetters(t *testing.T) {
	p, backend := newForwardingProcess(t), exportertest.NewGRPC(t, nil)
	backend.Limit(1000)
	w := p.worker(backend, metricsOn(backend))
	p.post("/v1/metrics", metricPayload(strings.Repeat("x", 2000), 1))
	p.post("/v1/metrics", metricPayload("fine", 1))
	poll(t, "not all is settled", func() bool { return p.unforwarded() == 0 && w.w.forward.Stats().Forwarded.Messages == 1 })
	if n := p.sub(p.cfg.Queue.DeadLetters + "-kept").Unacked; n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
	if s := w.w.forward.Stats(); s.DeadLettered.Points != 1 || s.InFlight.Messages != 0 {
		t.Errorf("counted %+v", s)
	}
}

// What cannot work is said when the worker starts.
func TestForwardingFaults(t *testing.T) {
	cfg := Default()
	err := cfg.Parse("w.yaml", []byte("metrics: {forward: true, max_bytes: 1kB}\nexporters: [{type: otlp, endpoint: 'http://h'}]\n"))
	for _, want := range []string{"w.yaml:1:20: metrics.forward: no exporter takes metrics", "w.yaml:1:37: metrics.max_bytes: 1000B is out of bounds"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in:\n%v", want, err)
		}
	}
	p, backend := newProcess(t), exportertest.NewHTTP(t, nil)
	cfg = p.cfg
	metricsOn(backend)(&cfg)
	w, err := NewWorker(cfg, WorkerOptions{Client: p.client, Log: quiet, Console: []net.Listener{listen(t)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "tailweir-metrics-worker") {
		t.Errorf("without the subscription: %v, want an error that names it", err)
	}
	cfg.Exporters[0].Signals = nil
	if _, err := NewWorker(cfg, WorkerOptions{Client: p.client, Log: quiet}); err == nil || !strings.Contains(err.Error(), "no exporter takes metrics") {
		t.Errorf("without an exporter: %v", err)
	}
}
