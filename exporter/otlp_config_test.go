package exporter

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tailweir/exporter/exportertest"
)

func TestOTLPConfigValidate(t *testing.T) {
	ok := []OTLPConfig{
		{Endpoint: "http://h:4318"}, {Endpoint: "https://h/otlp"}, {Endpoint: "grpc://h"}, {Endpoint: "grpcs://h:443"},
		{TracesEndpoint: "http://h/t", LogsEndpoint: "http://h/l"}, {Endpoint: "grpc://[::1]:4317"},
		{MetricsEndpoint: "http://h/m"}, {TracesEndpoint: "http://h/t", LogsEndpoint: "http://h/l", MetricsEndpoint: "http://h/m"},
	}
	for _, c := range ok {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	bad := []OTLPConfig{
		{}, {Endpoint: "h:4318"}, {Endpoint: "ftp://h"}, {Endpoint: "http://"}, {Endpoint: "grpc://h/path"},
		{Endpoint: "grpc://h", MetricsEndpoint: "http://h/m"}, {Endpoint: "http://h", MetricsEndpoint: "grpc://h"}, {LogsEndpoint: "http://h/l", MetricsEndpoint: "http://h/m"},
		{Endpoint: "grpc://h", TracesEndpoint: "http://h/t"}, {TracesEndpoint: "http://h/t"}, {Endpoint: "http://h", LogsEndpoint: "grpc://h"},
		{Endpoint: "http://h", Compression: "zip"}, {Endpoint: "http://h", Connections: 500}, {Endpoint: "http://h", Timeout: -1}, {Endpoint: "http://h", Concurrency: 2000},
		{Endpoint: "http://h", InitialBackoff: time.Minute}, {Endpoint: "http://h", TLS: TLSConfig{CertFile: "c"}},
		{Endpoint: "http://h", Headers: map[string]string{"a b": "c"}}, {Endpoint: "http://h", Headers: map[string]string{"a": "c\n"}},
	}
	for _, c := range bad {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v: accepted", c)
		}
	}
	if got, _ := (OTLPConfig{Endpoint: "grpcs://telemetry.example"}).targets(); got.grpc != "telemetry.example:443" {
		t.Errorf("grpcs without port: %s", got.grpc)
	}
	if got, _ := (OTLPConfig{Endpoint: "grpc://collector"}).targets(); got.grpc != "collector:4317" {
		t.Errorf("grpc without port: %s", got.grpc)
	}
	if _, err := NewOTLP(OTLPConfig{Endpoint: "https://h", TLS: TLSConfig{CAFile: "missing.pem"}}); err == nil {
		t.Error("a missing CA file was accepted")
	}
}

func TestOTLPPaths(t *testing.T) {
	b := exportertest.NewHTTP(t, nil)
	tests := []struct {
		name         string
		config       OTLPConfig
		traces, logs string
	}{
		{"plain", OTLPConfig{Endpoint: b.URL}, "/v1/traces", "/v1/logs"},
		{"base path", OTLPConfig{Endpoint: b.URL + "/otlp/"}, "/otlp/v1/traces", "/otlp/v1/logs"},
		{"own", OTLPConfig{Endpoint: b.URL, TracesEndpoint: b.URL + "/t", LogsEndpoint: b.URL + "/custom/logs"}, "/t", "/custom/logs"},
		{"own without base", OTLPConfig{TracesEndpoint: b.URL + "/t", LogsEndpoint: b.URL + "/my-logs"}, "/t", "/my-logs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := open(t, tt.config)
			before := len(b.Requests())
			for _, batch := range []*Batch{traceBatch(t, 1, 1), logBatch(t, 1, "a")} {
				if err := o.Export(t.Context(), batch); err != nil {
					t.Fatal(err)
				}
			}
			got := b.Requests()[before:]
			if got[0].Path != tt.traces || got[1].Path != tt.logs {
				t.Errorf("paths %s and %s, want %s and %s", got[0].Path, got[1].Path, tt.traces, tt.logs)
			}
		})
	}
}

func TestOTLPTLS(t *testing.T) {
	keys := exportertest.NewTLS(t, true)
	dir := t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca, cert, key := file("ca.pem", keys.CA), file("cert.pem", keys.ClientCert), file("key.pem", keys.ClientKey)
	tests := []struct {
		name string
		tls  TLSConfig
		ok   bool
	}{
		{"both sides proved", TLSConfig{CAFile: ca, CertFile: cert, KeyFile: key}, true},
		{"any server", TLSConfig{Insecure: true, CertFile: cert, KeyFile: key}, true},
		{"unknown authority", TLSConfig{CertFile: cert, KeyFile: key}, false},
		{"no client certificate", TLSConfig{CAFile: ca}, false},
		{"other name", TLSConfig{CAFile: ca, CertFile: cert, KeyFile: key, ServerName: "example.com"}, false},
	}
	for _, b := range []*exportertest.Backend{exportertest.NewHTTP(t, keys), exportertest.NewGRPC(t, keys)} {
		for _, tt := range tests {
			t.Run(b.URL[:5]+" "+tt.name, func(t *testing.T) {
				o := open(t, OTLPConfig{Endpoint: b.URL, TLS: tt.tls})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if !tt.ok {
					// One refused handshake is enough: the retry's log line ends the wait.
					o.courier.log = onLog(cancel)
				}
				err := o.Export(ctx, traceBatch(t, 1, 1))
				if pe := (*PermanentError)(nil); (err == nil) != tt.ok || errors.As(err, &pe) {
					t.Errorf("err %v, want success %v, and never permanent", err, tt.ok)
				}
			})
		}
	}
}
