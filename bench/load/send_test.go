package load

import (
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"tailweir/bench/ledger"
	"tailweir/bench/sink"
)

func config(target string) Config {
	cfg := Defaults()
	cfg.Target, cfg.Spans, cfg.Connections = target, 5000, 4
	cfg.RetryInitial = time.Millisecond
	cfg.Binding = time.Hour
	return cfg
}

func TestSinkSeesWhatWasSent(t *testing.T) {
	for _, tt := range []struct {
		name             string
		grpc, gzip, logs bool
	}{
		{name: "http"}, {name: "http gzip logs", gzip: true, logs: true},
		{name: "grpc", grpc: true}, {name: "grpc gzip logs", grpc: true, gzip: true, logs: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s sink.Sink
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if tt.grpc {
				server := s.GRPCServer()
				go server.Serve(l)
				defer server.Stop()
			} else {
				server := &http.Server{Handler: s.Handler()}
				go server.Serve(l)
				defer server.Close()
			}
			cfg := config(l.Addr().String())
			cfg.GRPC, cfg.Gzip, cfg.Logs = tt.grpc, tt.gzip, tt.logs
			report, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if report.Acked < 5000 || report.Acked != report.Planned || len(report.Incomplete) > 0 {
				t.Fatalf("report %+v", report)
			}
			proof := s.Seen.Prove(report.Sent, ledger.Expect{Percent: 100})
			if !proof.OK() || proof.KeptSpans != report.Acked || proof.KeptRecords != report.AckedRecords || tt.logs == (proof.KeptRecords == 0) {
				t.Errorf("proof %+v of report %+v", proof, report)
			}
		})
	}
}

func TestRetriesWithTheSameBytes(t *testing.T) {
	for _, code := range []int{429, 502, 503, 504} {
		var mu sync.Mutex
		refused, requests := map[[32]byte]bool{}, 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			requests++
			if sum := sha256.Sum256(body); !refused[sum] {
				refused[sum] = true
				w.WriteHeader(code)
			}
		}))
		report, err := Run(t.Context(), config(strings.TrimPrefix(server.URL, "http://")))
		server.Close()
		if err != nil {
			t.Fatal(err)
		}
		if report.Acked != report.Planned || report.Retries != report.Payloads || requests != 2*report.Payloads || len(refused) != report.Payloads {
			t.Errorf("%d: %d requests with %d bodies for %d payloads, %d of %d spans acknowledged",
				code, requests, len(refused), report.Payloads, report.Acked, report.Planned)
		}
	}
}

func TestWhatIsRefusedIsIncomplete(t *testing.T) {
	for _, tt := range []struct {
		name string
		code int
		body string
	}{
		{"bad request", 400, ""},
		{"partial success", 200, "\x0a\x02\x08\x01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.code)
				io.WriteString(w, tt.body)
			}))
			defer server.Close()
			report, err := Run(t.Context(), config(strings.TrimPrefix(server.URL, "http://")))
			if err != nil {
				t.Fatal(err)
			}
			if report.Failed != report.Planned || report.Retries != 0 || len(report.Incomplete) != int(report.Traces) {
				t.Errorf("report: %d of %d spans failed, %d retries, %d of %d traces incomplete",
					report.Failed, report.Planned, report.Retries, len(report.Incomplete), report.Traces)
			}
		})
	}
}

func TestConfigRefusesOtherMachines(t *testing.T) {
	for target, ok := range map[string]bool{
		"127.0.0.1:1": true, "localhost:1": true, "[::1]:1": true,
		"10.0.0.1:1": false, "example.com:1": false, "0.0.0.0:1": false, "127.0.0.1": false,
	} {
		if err := config(target).Validate(); (err == nil) != ok {
			t.Errorf("target %q: %v", target, err)
		}
	}
	cfg := config("127.0.0.1:1")
	cfg.Spans = mostSpans + 1
	if _, err := Run(context.Background(), cfg); err == nil {
		t.Error("more spans than allowed are accepted")
	}
}
