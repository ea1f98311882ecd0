package e2e_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

const forwardingConfig = `
metrics: {forward: true}
exporters:
  - {type: otlp, endpoint: "%s", signals: [traces, logs, metrics]}
`

// TestMetricsForwarded sends metrics through ingest, broker and worker as processes. The worker is killed while the backend is away; the next one
// forwards what it held, and nothing is lost.
func TestMetricsForwarded(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got, away := map[string]int{}, false
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/metrics", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if away {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		receive(func(b []byte) ([]byte, error) {
			request := pmetricotlp.NewExportRequest()
			if err := request.UnmarshalProto(b); err != nil {
				return nil, err
			}
			for _, rm := range request.Metrics().ResourceMetrics().All() {
				got[rm.ScopeMetrics().At(0).Metrics().At(0).Name()]++
			}
			return pmetricotlp.NewExportResponse().MarshalProto()
		})(w, r)
	})
	backend := httptest.NewServer(mux)
	t.Cleanup(backend.Close)

	config := filepath.Join(t.TempDir(), "tailweir.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, forwardingConfig, backend.URL), 0o644); err != nil {
		t.Fatal(err)
	}
	pubsub, door := freeAddr(t), freeAddr(t)
	start(t, nil, command("tailweir"), "broker", "--listen", pubsub).answering(pubsub)
	_, port, _ := net.SplitHostPort(door)
	env := []string{"PUBSUB_EMULATOR_HOST=" + pubsub, "GOOGLE_CLOUD_PROJECT=e2e", "TAILWEIR_CONFIG=" + config}
	ingest := start(t, append(env, "PORT="+port), command("ingest"), "--create")
	ingest.answering(door)
	worker := func() *process {
		console := freeAddr(t)
		p := start(t, append(env, "TAILWEIR_CONSOLE="+console), command("worker"), "--create")
		p.answering(console)
		return p
	}
	first := worker()
	send := func(name string) {
		t.Helper()
		md := pmetric.NewMetrics()
		m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName(name)
		m.SetEmptySum().DataPoints().AppendEmpty().SetIntValue(1)
		b, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post("http://"+door+"/v1/metrics", "application/x-protobuf", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	arrived := func(names ...string) func() string {
		return func() string {
			mu.Lock()
			defer mu.Unlock()
			for _, name := range names {
				if got[name] == 0 {
					return "the backend has no " + name
				}
			}
			return ""
		}
	}
	send("before")
	await(t, "the first metric to arrive", arrived("before"))
	mu.Lock()
	away = true
	mu.Unlock()
	send("while away")
	send("also while away")
	first.signal(syscall.SIGKILL)
	first.wait(patience)
	second := worker()
	mu.Lock()
	away = false
	mu.Unlock()
	send("after")
	await(t, "what the killed worker held to arrive", arrived("while away", "also while away", "after"))
	second.signal(syscall.SIGTERM)
	if code := second.wait(patience); code != 0 {
		t.Errorf("worker: exit status %d", code)
	}
	endWell(t, ingest, "ingest is done", "points", 4)
}
