package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// newKey runs tailweir key new, appends its entry to the file, and returns the key.
func newKey(t *testing.T, file string, flags ...string) string {
	t.Helper()
	p := start(t, nil, command("tailweir"), append([]string{"key", "new"}, flags...)...)
	p.finish(patience)
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(p.out.String()); err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`(?m)^tailweir_[a-z2-7]{52}$`).FindString(p.err.String())
	if key == "" || strings.Contains(p.out.String(), key) {
		t.Fatalf("no key, or one in the entry: %s%s", p.err.String(), p.out.String())
	}
	return key
}

// curl posts a trace with an error as JSON, whose resource says that its tenant is another.
func curl(t *testing.T, url, id string, headers ...string) (status int, body string) {
	t.Helper()
	payload := fmt.Sprintf(`{"resourceSpans":[{"resource":{"attributes":[{"key":"tenant","value":{"stringValue":"forged"}}]},"scopeSpans":[{"spans":[
		{"traceId":"%032s","spanId":"0000000000000001","name":"GET /","startTimeUnixNano":"1000000","endTimeUnixNano":"2000000","status":{"code":2}}]}]}]}`, id)
	req, err := http.NewRequest("POST", url+"/v1/traces", strings.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestIngestWithKeys goes the way of docs/auth.md with the processes: a key is made, sent with, rotated while the ingest runs, and
// withdrawn; what comes out has the key's tenant, whatever the app says.
func TestIngestWithKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys.yaml")
	first := newKey(t, keys, "--name", "shop-1", "--attribute", "tenant=acme")

	pubsub, door, admin, console := freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
	_, port, _ := net.SplitHostPort(door)
	start(t, nil, command("tailweir"), "broker", "--listen", pubsub).answering(pubsub)
	out := filepath.Join(dir, "out")
	config := writeFile(t, "tailweir.yaml", fmt.Sprintf("window: {settle: 1s, idle: 1s, max_age: 20s, slack: 1s, start_delay: 0s}\nexporters:\n- {type: file, dir: %q}\n", out))
	env := []string{"PUBSUB_EMULATOR_HOST=" + pubsub, "GOOGLE_CLOUD_PROJECT=e2e", "TAILWEIR_CONFIG=" + config}
	ingest := start(t, append(env, "PORT="+port, "TAILWEIR_KEYS="+keys, "TAILWEIR_ADMIN="+admin), command("tailweir"), "ingest", "--create")
	ingest.answering(door)
	worker := start(t, append(env, "TAILWEIR_CONSOLE="+console), command("tailweir"), "worker", "--create")
	worker.answering(console)
	url := "http://" + door

	if status, body := curl(t, url, "1", "x-api-key", first); status != 200 {
		t.Fatalf("with the key: status %d, %s", status, body)
	}
	for name, headers := range map[string][]string{"no key": nil, "a wrong key": {"x-api-key", "tailweir_" + strings.Repeat("a", 52)}} {
		status, body := curl(t, url, "9", headers...)
		if status != 401 || !strings.Contains(body, `"code":16`) || !strings.Contains(body, `"message"`) {
			t.Errorf("%s: status %d, %s, want 401 with a Status", name, status, body)
		}
	}
	grpc := func(key string) error {
		exporter, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpointURL(url), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}), otlptracegrpc.WithHeaders(map[string]string{"authorization": "Bearer " + key}))
		if err != nil {
			t.Fatal(err)
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithResource(named("by grpc")))
		_, span := provider.Tracer("t").Start(t.Context(), "slow")
		span.End()
		ended := []sdktrace.ReadOnlySpan{span.(sdktrace.ReadOnlySpan)}
		return exporter.ExportSpans(t.Context(), ended)
	}
	if err := grpc(first); err != nil {
		t.Errorf("gRPC with the key: %v", err)
	}
	if err := grpc("tailweir_none"); err == nil || !strings.Contains(err.Error(), "not valid here") {
		t.Errorf("gRPC with a wrong key: %v, want UNAUTHENTICATED", err)
	}

	// A second key beside the first, then without it.
	both, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	second := newKey(t, keys, "--name", "shop-2", "--attribute", "tenant=acme")
	until := func(what string, want int, key string) {
		t.Helper()
		await(t, what, func() string {
			if status, _ := curl(t, url, "3", "x-api-key", key); status != want {
				return fmt.Sprintf("status %d", status)
			}
			return ""
		})
	}
	until("the second key is taken", 200, second)
	until("and the first still is", 200, first)
	now, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys, now[len(both):], 0o600); err != nil {
		t.Fatal(err)
	}
	until("the first is not any more", 401, first)
	until("but the second is", 200, second)

	metrics, err := fetch("http://" + admin + "/metrics")
	if err != nil || !regexp.MustCompile(`tailweir_ingest_key_requests_total\{key="shop-2"\} [1-9]`).Match(metrics) {
		t.Errorf("no requests of the second key in the metrics: %v\n%s", err, metrics)
	}
	await(t, "the traces are kept", func() string {
		if n := len(spansInFile(t, out)); n < 2 {
			return fmt.Sprintf("%d spans", n)
		}
		return ""
	})
	for _, line := range linesOf(t, filepath.Join(out, "traces.jsonl")) {
		traces, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(line)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range traces.ResourceSpans().All() {
			if v, _ := r.Resource().Attributes().Get("tenant"); v.AsString() != "acme" {
				t.Errorf("a resource has the tenant %q, want acme", v.AsString())
			}
		}
	}
	if log := ingest.err.String(); strings.Contains(log, first) || strings.Contains(log, second) || !strings.Contains(log, `"keys read"`) {
		t.Errorf("the ingest's log has a key in it, or nothing of the new ones:\n%s", log)
	}
}

// An ingest for Google's Pub/Sub that was not told who may send does not start, and says what to set.
func TestIngestWantsToKnowWhoMaySend(t *testing.T) {
	t.Parallel()
	for _, program := range [][]string{{"tailweir", "ingest"}, {"ingest"}} {
		p := start(t, []string{"GOOGLE_CLOUD_PROJECT=e2e"}, command(program[0]), program[1:]...)
		if code := p.wait(patience); code != 2 || !strings.Contains(p.err.String(), "TAILWEIR_KEYS=FILE") || !strings.Contains(p.err.String(), "TAILWEIR_AUTH=none") {
			t.Errorf("%v: exit status %d, %s", program, code, p.err.String())
		}
	}
}

// tailweir local asks for keys where it is told to, and says so to apps.
func TestLocalWithKeys(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "keys.yaml")
	key := newKey(t, keys, "--name", "me")
	l := startLocal(t, "--keys", keys)
	if status, _ := curl(t, l.otlp, "1", "x-api-key", key); status != 200 {
		t.Errorf("with the key: status %d", status)
	}
	if status, _ := curl(t, l.otlp, "1"); status != 401 {
		t.Errorf("without: status %d", status)
	}
	if !strings.Contains(l.out.String(), "OTEL_EXPORTER_OTLP_HEADERS=x-api-key=KEY") {
		t.Errorf("apps are not told: %s", l.out.String())
	}
}
