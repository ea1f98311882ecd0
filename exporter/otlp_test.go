package exporter

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/exporter/exportertest"
	"tailweir/otlp"
)

func open(t *testing.T, c OTLPConfig) *OTLP {
	t.Helper()
	if c.InitialBackoff == 0 {
		c.InitialBackoff, c.MaxBackoff = time.Millisecond, 2*time.Millisecond
	}
	c.Logger = silent
	o, err := NewOTLP(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func TestOTLPErrorText(t *testing.T) {
	b := exportertest.NewHTTP(t, nil)
	o := open(t, OTLPConfig{Endpoint: strings.Replace(b.URL, "://", "://user:secret@", 1), TracesEndpoint: b.URL + "/v1/traces?key=secret"})
	status := []byte("\x08\x03\x12\x0dquota is gone") // google.rpc.Status{3, "quota is gone"}
	tests := []struct {
		name   string
		answer exportertest.Answer
		want   string
	}{
		{"status message", exportertest.Answer{Status: 400, Body: status, Header: map[string]string{"Content-Type": "application/x-protobuf"}}, "quota is gone"},
		{"json", exportertest.Answer{Status: 400, Body: []byte(`{"message":"no way"}`), Header: map[string]string{"Content-Type": "application/json; charset=utf-8"}}, "no way"},
		{"text of several lines", exportertest.Answer{Status: 400, Body: []byte("<h1>\n Bad\x00\xff\n")}, "<h1> Bad\x00\uFFFD"},
		{"nothing", exportertest.Answer{Status: 400}, "400 Bad Request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.Script(tt.answer)
			err := o.Export(t.Context(), traceBatch(t, 1, 1))
			if err == nil || !strings.HasSuffix(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q, want it to end in %q and hold no secret", err, tt.want)
			}
		})
	}
	b.Script(exportertest.Answer{Status: 400, Body: bytes.Repeat([]byte("ä"), 5000)})
	if err := o.Export(t.Context(), traceBatch(t, 1, 1)); err == nil || len(err.Error()) > maxMessage+200 {
		t.Errorf("error of %d bytes is not bounded", len(err.Error()))
	}
}

func TestOTLPSendsPayload(t *testing.T) {
	all := []*Batch{traceBatch(t, 3, 1, 2), logBatch(t, 1, "one", "two"), metricBatch(t, 2, "m")}
	for _, compression := range compressions {
		for name, start := range map[string]func(testing.TB, *exportertest.TLS) *exportertest.Backend{
			"http": exportertest.NewHTTP, "grpc": exportertest.NewGRPC,
		} {
			t.Run(name+" "+compression, func(t *testing.T) {
				b := start(t, nil)
				o := open(t, OTLPConfig{Endpoint: b.URL, Compression: compression, Headers: map[string]string{"X-Api-Key": "k"}})
				for _, batch := range all {
					if err := o.Export(t.Context(), batch); err != nil {
						t.Fatal(err)
					}
				}
				got := b.Requests()
				if len(got) != len(all) {
					t.Fatalf("%d requests, want %d", len(got), len(all))
				}
				for i, want := range all {
					if got[i].Signal != want.Signal || !bytes.Equal(got[i].Payload, want.Payload) {
						t.Errorf("%s payload differs", want.Signal)
					}
					if wantEncoding := strings.TrimPrefix(compression, "none"); got[i].Encoding != wantEncoding {
						t.Errorf("encoding %q, want %q", got[i].Encoding, wantEncoding)
					}
					if diff := cmp.Diff([]string{"k"}, got[i].Headers["x-api-key"]); diff != "" {
						t.Errorf("header (-want +got):\n%s", diff)
					}
				}
			})
		}
	}
}

func TestOTLPUsesItsConnectionsInTurn(t *testing.T) {
	b := exportertest.NewGRPC(t, nil)
	o := open(t, OTLPConfig{Endpoint: b.URL, Connections: 3})
	for range 6 {
		if err := o.Export(t.Context(), traceBatch(t, 1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	from := map[string]int{}
	for _, r := range b.Requests() {
		from[r.From]++
	}
	if len(from) != 3 {
		t.Errorf("requests by connection: %v, want 3 connections", from)
	}
}

// TestZstdAtOnce compresses from several goroutines, for both transports.
func TestZstdAtOnce(t *testing.T) {
	for _, start := range []func(testing.TB, *exportertest.TLS) *exportertest.Backend{exportertest.NewHTTP, exportertest.NewGRPC} {
		b := start(t, nil)
		o := open(t, OTLPConfig{Endpoint: b.URL, Compression: CompressionZstd})
		want := map[string]bool{}
		var group sync.WaitGroup
		for i := range 50 {
			batch := traceBatch(t, 20, i+1)
			want[string(batch.Payload)] = true
			group.Go(func() {
				if err := o.Export(t.Context(), batch); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for _, r := range b.Requests() {
			if !want[string(r.Payload)] {
				t.Error("a payload came twice, or was not sent")
			}
			delete(want, string(r.Payload))
		}
		if len(want) > 0 {
			t.Errorf("%d payloads are missing", len(want))
		}
	}
}

func TestOTLPTransientUntilContextIsDone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"http://", "grpc://"} {
		ctx, cancel := context.WithCancel(t.Context())
		o := open(t, OTLPConfig{Endpoint: scheme + free})
		o.courier.log = onLog(cancel)
		err := o.Export(ctx, traceBatch(t, 1, 1))
		var pe *PermanentError
		if !errors.Is(err, context.Canceled) || errors.As(err, &pe) || !strings.Contains(err.Error(), free) {
			t.Errorf("%s: err %v, want a transient error that names the endpoint", scheme, err)
		}
	}
}

func TestOTLPTimeoutOfAnAttempt(t *testing.T) {
	for name, b := range map[string]*exportertest.Backend{"http": exportertest.NewHTTP(t, nil), "grpc": exportertest.NewGRPC(t, nil)} {
		b.Script(exportertest.Answer{Hang: true})
		o := open(t, OTLPConfig{Endpoint: b.URL, Timeout: 200 * time.Millisecond})
		// A slow machine may time out good attempts too; they are retried.
		if err := o.Export(t.Context(), traceBatch(t, 1, 1)); err != nil || len(b.Requests()) < 2 {
			t.Errorf("%s: err %v after %d requests, want success after the one that hung", name, err, len(b.Requests()))
		}
	}
	b := exportertest.NewHTTP(t, nil)
	b.Script(exportertest.Answer{Drop: true})
	if err := open(t, OTLPConfig{Endpoint: b.URL}).Export(t.Context(), traceBatch(t, 1, 1)); err != nil {
		t.Errorf("after a dropped connection: %v", err)
	}
}

func TestOTLPPartialSuccess(t *testing.T) {
	for name, b := range map[string]*exportertest.Backend{"http": exportertest.NewHTTP(t, nil), "grpc": exportertest.NewGRPC(t, nil)} {
		o := open(t, OTLPConfig{Endpoint: b.URL})
		for _, batch := range []*Batch{traceBatch(t, 3, 1), logBatch(t, 1, "a", "b", "c"), metricBatch(t, 3, "m")} {
			before := len(b.Requests())
			b.Script(exportertest.Answer{Rejected: 2, PartialMessage: "too old"})
			var got *PartialError
			if err := o.Export(t.Context(), batch); !errors.As(err, &got) {
				t.Fatalf("%s %s: err %v, want a PartialError", name, batch.Signal, err)
			}
			if diff := cmp.Diff(&PartialError{Rejected: 2, Msg: "too old"}, got); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", name, batch.Signal, diff)
			}
			b.Script(exportertest.Answer{PartialMessage: "just a warning"})
			if err := o.Export(t.Context(), batch); err != nil {
				t.Errorf("%s %s: warning became %v", name, batch.Signal, err)
			}
			if n := len(b.Requests()) - before; n != 2 {
				t.Errorf("%s %s: %d requests, want 2: a partial success is not sent again", name, batch.Signal, n)
			}
		}
	}
}

func TestOTLPHalves(t *testing.T) {
	for name, b := range map[string]*exportertest.Backend{"http": exportertest.NewHTTP(t, nil), "grpc": exportertest.NewGRPC(t, nil)} {
		t.Run(name, func(t *testing.T) {
			o := open(t, OTLPConfig{Endpoint: b.URL})
			small := len(spans(t, 1, 2))
			b.Limit(2*small + small/2)
			batch := batch(otlp.Traces,
				fill{trace: 1, payload: spans(t, 1, 2), items: 2}, fill{trace: 2, payload: spans(t, 2, 2), items: 2},
				fill{trace: 3, payload: spans(t, 3, 9), items: 9}, fill{trace: 4, payload: spans(t, 4, 2), items: 2},
				fill{trace: 5, payload: spans(t, 5, 2), items: 2})
			err := o.Export(t.Context(), batch)
			var pe *PermanentError
			if !errors.As(err, &pe) {
				t.Fatalf("err %v, want a PermanentError for the part that is too large by itself", err)
			}
			if diff := cmp.Diff([]int{2}, partsOf(pe)); diff != "" {
				t.Errorf("refused parts (-want +got):\n%s", diff)
			}
			var sent, want []byte
			for _, r := range b.Requests() {
				if len(r.Payload) <= 2*small+small/2 {
					sent = append(sent, r.Payload...)
				}
			}
			for i, p := range batch.Parts {
				if i != 2 {
					want = append(want, batch.Payload[p.Off:p.Off+p.Len]...)
				}
			}
			if !bytes.Equal(sent, want) {
				t.Error("the backend does not have each other part once and in order")
			}
			if err := o.Export(t.Context(), traceBatch(t, 2, 1, 2, 3, 4)); err != nil {
				t.Errorf("a batch whose halves fit: %v", err)
			}
		})
	}
}

func TestOTLPPartialAndRefused(t *testing.T) {
	b := exportertest.NewHTTP(t, nil)
	o := open(t, OTLPConfig{Endpoint: b.URL})
	b.Script(exportertest.Answer{Status: 413}, exportertest.Answer{Rejected: 1, PartialMessage: "old"}, exportertest.Answer{Status: 400})
	err := o.Export(t.Context(), traceBatch(t, 2, 1, 2))
	var pe *PermanentError
	var partial *PartialError
	if !errors.As(err, &pe) || !errors.As(err, &partial) || partial.Rejected != 1 || !cmp.Equal(partsOf(pe), []int{1}) {
		t.Errorf("err %v, want part 1 refused and 1 item of the other rejected", err)
	}
}

func TestOTLPConcurrency(t *testing.T) {
	b := exportertest.NewHTTP(t, nil)
	o := open(t, OTLPConfig{Endpoint: b.URL, Concurrency: 1, Timeout: time.Minute})
	b.Script(exportertest.Answer{Hang: true})
	first, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- o.Export(first, traceBatch(t, 1, 1)) }()
	for o.Stats().Running == 0 {
		time.Sleep(time.Millisecond) // until the first attempt has the slot
	}
	second, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := o.Export(second, traceBatch(t, 1, 2)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second export: %v, want it to wait for the slot until its context ends", err)
	}
	if n := len(b.Requests()); n > 1 {
		t.Errorf("%d requests in flight, want at most 1", n)
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("first export: %v", err)
	}
}

func TestOTLPNoSignal(t *testing.T) {
	o := open(t, OTLPConfig{Endpoint: "http://127.0.0.1:1"})
	if err := o.Export(t.Context(), &Batch{Signal: otlp.Traces}); err != nil {
		t.Errorf("empty batch: %v", err)
	}
	var pe *PermanentError
	if err := o.Export(t.Context(), &Batch{Signal: otlp.Metrics + 1, Items: 1, Payload: []byte{10, 0}}); !errors.As(err, &pe) {
		t.Errorf("no signal: %v, want a PermanentError", err)
	}
}
