package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"tailweir/auth"
	"tailweir/queue"
)

// An ingest of Google's Pub/Sub does not start before somebody has said who may send; at an emulator it does, and says so.
func TestWhoMaySendIsDecided(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys.yaml")
	if err := os.WriteFile(keys, auth.Entry{Name: "shop", Hash: auth.HashOf(auth.NewKey())}.YAML(), 0o600); err != nil {
		t.Fatal(err)
	}
	google := "ingest: {auth: {google: {audiences: [https://x], accounts: [a@p.iam.gserviceaccount.com]}}}\n"
	client, err := queue.Open(t.Context(), queue.Config{Project: "p", Endpoint: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, tt := range []struct {
		name, file string
		env        map[string]string
		refused    string // what the error says
		warned     string
	}{
		{name: "nothing", refused: "ingest.auth is not set: say who may send. TAILWEIR_KEYS=FILE"},
		{name: "nothing, but an emulator", env: map[string]string{"PUBSUB_EMULATOR_HOST": "127.0.0.1:1"}, warned: "nobody is asked who sends"},
		{name: "none by environment", env: map[string]string{"TAILWEIR_AUTH": "none"}},
		{name: "none in the file", file: "ingest: {auth: {none: true}}\n"},
		{name: "keys by environment", env: map[string]string{"TAILWEIR_KEYS": keys}},
		{name: "keys in the file", file: "ingest: {auth: {keys: " + keys + "}}\n"},
		{name: "tokens", file: google},
		{name: "both", file: google, env: map[string]string{"TAILWEIR_KEYS": keys}},
		{name: "keys and none", env: map[string]string{"TAILWEIR_KEYS": keys, "TAILWEIR_AUTH": "none"}, refused: "contradicts"},
		{name: "a typo", env: map[string]string{"TAILWEIR_AUTH": "off"}, refused: `TAILWEIR_AUTH is "off", want none`},
		{name: "no such file", env: map[string]string{"TAILWEIR_KEYS": keys + "x"}, refused: "keys.yamlx"},
		{name: "keys and none in the file", file: "ingest: {auth: {keys: f, none: true}}\n", refused: "ingest.auth.none: contradicts"},
		{name: "tokens for nobody", file: "ingest: {auth: {google: {audiences: [a]}}}\n", refused: "needs both audiences and accounts"},
		{name: "anybody's account", file: "ingest: {auth: {google: {audiences: [a], accounts: ['*@gmail.com', '*', '*@.iam.gserviceaccount.com', 'a*@p.iam.gserviceaccount.com', '*@*.iam.gserviceaccount.com']}}}\n",
			refused: "ingest.auth.google.accounts[4]: "},
		{name: "too much skew", file: "ingest: {auth: {google: {skew: 1h}}}\n", refused: "ingest.auth.google.skew: 1h0m0s is out of bounds"},
	} {
		file := filepath.Join(t.TempDir(), "ingest.yaml")
		if err := os.WriteFile(file, []byte(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
		env := func(name string) string {
			if v := tt.env[name]; v != "" {
				return v
			}
			return map[string]string{"TAILWEIR_CONFIG": file, "GOOGLE_CLOUD_PROJECT": "p"}[name]
		}
		var log bytes.Buffer
		cfg, err := Load(env)
		if err == nil {
			_, err = NewIngest(cfg, client, slog.New(slog.NewTextHandler(&log, nil)))
		}
		if (err == nil) != (tt.refused == "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.refused)
		}
		if tt.warned == "" && log.Len() > 0 || !strings.Contains(log.String(), tt.warned) {
			t.Errorf("%s: the log has %q, want %q", tt.name, log.String(), tt.warned)
		}
	}
	// The command says it before it looks for Google's credentials.
	err = RunIngest(t.Context(), nil, func(name string) string { return map[string]string{"GOOGLE_CLOUD_PROJECT": "p"}[name] })
	if usage := (*UsageError)(nil); !errors.As(err, &usage) || !strings.Contains(err.Error(), "TAILWEIR_AUTH=none") {
		t.Errorf("the command: %v, want a UsageError that says what to set", err)
	}
}

// TestIngestWithKeys sends over HTTP and gRPC, with headers as SDKs make them of OTEL_EXPORTER_OTLP_HEADERS, and reads the metrics.
func TestIngestWithKeys(t *testing.T) {
	key := auth.NewKey()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	entry := auth.Entry{Name: "shop", Hash: auth.HashOf(key), Attributes: map[string]string{"tenant": "acme"}}
	if err := os.WriteFile(file, entry.YAML(), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newProcess(t)
	cfg := p.cfg
	cfg.Ingest.Auth.Keys = file
	in, err := NewIngest(cfg, p.client, quiet)
	if err != nil {
		t.Fatal(err)
	}
	l, admin := listen(t), listen(t)
	addr := l.Addr().String()
	background(t, func(ctx context.Context) error { return in.Run(ctx, admin, l) })

	for _, tt := range []struct {
		headers string // OTEL_EXPORTER_OTLP_HEADERS
		http    int
		grpc    codes.Code
	}{
		{"x-api-key=" + key, 200, codes.OK},
		{"Authorization=Bearer%20" + key, 200, codes.OK},
		{"authorization=Bearer " + key + ",x-other=1", 200, codes.OK},
		{"x-api-key=" + auth.NewKey(), 401, codes.Unauthenticated},
		{"", 401, codes.Unauthenticated},
	} {
		headers := sdkHeaders(t, tt.headers)
		req, _ := http.NewRequest("POST", "http://"+addr+"/v1/traces", strings.NewReader(""))
		for k, v := range headers {
			req.Header.Set(k, v)
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err = ptraceotlp.NewGRPCClient(conn).Export(metadata.NewOutgoingContext(ctx, metadata.New(headers)), ptraceotlp.NewExportRequest())
		cancel()
		conn.Close()
		if resp.StatusCode != tt.http || status.Code(err) != tt.grpc {
			t.Errorf("%q: HTTP %d, gRPC %v, want %d and %v", tt.headers, resp.StatusCode, status.Code(err), tt.http, tt.grpc)
		}
	}
	resp, err := http.Get("http://" + admin.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, _ := io.ReadAll(resp.Body)
	for _, want := range []string{
		`tailweir_ingest_key_requests_total{key="shop"} 6`,
		`tailweir_ingest_requests_total{encoding="grpc",outcome="denied_unknown",signal="traces"} 1`,
		`tailweir_ingest_requests_total{encoding="protobuf",outcome="denied_missing",signal="traces"} 1`,
		"tailweir_ingest_keys_faulty 0",
	} {
		if !strings.Contains(string(metrics), want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
}

// sdkHeaders reads the variable as the specification of OpenTelemetry says: a list of name=value, values percent-encoded.
func sdkHeaders(t *testing.T, variable string) map[string]string {
	t.Helper()
	headers := map[string]string{}
	for pair := range strings.SplitSeq(variable, ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			headers[strings.ToLower(strings.TrimSpace(name))] = strings.ReplaceAll(value, "%20", " ")
		}
	}
	return headers
}
