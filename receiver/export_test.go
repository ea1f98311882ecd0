package receiver

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"tailweir/otlp"
)

// TestExport sends every kind of request every way.
func TestExport(t *testing.T) {
	garbage := []byte("\x0a\xff not a payload")
	ok := reply{HTTP: 200}
	oddIDs := func(i int) bool { return i%2 == 1 }
	tests := []struct {
		name     string
		signal   otlp.Signal
		request  exportRequest // nil: garbage
		before   func(context.Context, []byte) error
		cfg      Config
		want     reply // Text: a part of the text
		messages int
		outcome  Outcome
	}{
		{name: "spans", signal: otlp.Traces, request: spansOf(39, 30, nil), want: ok, messages: 1},
		{name: "records without trace id", signal: otlp.Logs, request: recordsOf(5, 30), want: ok, messages: 1},
		{name: "no spans", signal: otlp.Traces, request: spansOf(0, 0, nil), want: ok},
		{name: "no records", signal: otlp.Logs, request: plogotlp.NewExportRequest(), want: ok},
		{name: "no points", signal: otlp.Metrics, request: pointsOf(0), want: ok},
		{name: "points", signal: otlp.Metrics, request: pointsOf(3), outcome: Partial,
			want: reply{HTTP: 200, Rejected: 6, Text: "OTEL_METRICS_EXPORTER=none"}},
		{name: "invalid ids", signal: otlp.Traces, request: spansOf(5, 30, oddIDs), messages: 1, outcome: Partial,
			want: reply{HTTP: 200, Rejected: 2, Text: "2 spans without a valid trace id"}},
		{name: "invalid ids only", signal: otlp.Traces, request: spansOf(2, 30, func(int) bool { return true }), outcome: Partial,
			want: reply{HTTP: 200, Rejected: 2, Text: "2 spans without"}},
		{name: "malformed", signal: otlp.Traces, outcome: Malformed, want: reply{HTTP: 400, Code: codes.InvalidArgument}},
		{name: "malformed logs", signal: otlp.Logs, outcome: Malformed, want: reply{HTTP: 400, Code: codes.InvalidArgument}},
		{name: "malformed metrics", signal: otlp.Metrics, outcome: Malformed, want: reply{HTTP: 400, Code: codes.InvalidArgument}},
		{name: "over the limit inflated", signal: otlp.Traces, request: spansOf(39, 3000, nil), outcome: TooLarge,
			cfg:  Config{MaxBody: 100_000, MaxInflated: 100_000},
			want: reply{HTTP: 413, Code: codes.ResourceExhausted, Text: "100000"}},
		{name: "outage", signal: otlp.Traces, request: spansOf(1, 1, nil), before: outage, outcome: Unpublished,
			want: reply{HTTP: 503, Code: codes.Unavailable, Retry: time.Second, Text: errOutage.Error()}},
		{name: "silence", signal: otlp.Logs, request: recordsOf(1, 1), before: untilDone, outcome: Unpublished,
			cfg:  Config{PublishTimeout: 30 * time.Millisecond, RetryDelay: 3 * time.Second},
			want: reply{HTTP: 503, Code: codes.Unavailable, Retry: 3 * time.Second, Text: "deadline"}},
		{name: "panic", signal: otlp.Traces, request: spansOf(1, 1, nil), outcome: Panicked,
			before: func(context.Context, []byte) error { panic("boom") },
			want:   reply{HTTP: 500, Code: codes.Internal, Text: "internal fault"}},
	}
	for _, test := range tests {
		for _, w := range ways {
			t.Run(test.name+"/"+w.name, func(t *testing.T) {
				pub := &shelf{before: test.before}
				r, addr := open(t, pub, test.cfg)
				body := garbage
				switch {
				case test.request != nil && w.encoding == JSON:
					body = asJSON(t, test.request)
				case test.request != nil:
					body = encoded(t, test.request)
				}
				got, want := w.send(t, addr, test.signal, body), test.want
				if !strings.Contains(got.Text, want.Text) || want.Text == "" && test.outcome <= Partial && got.Text != "" {
					t.Errorf("text %q, want %q in it", got.Text, want.Text)
				}
				if got.Text = want.Text; w.encoding == GRPC {
					want.HTTP = 0
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("reply (-want +got):\n%s", diff)
				}
				if len(pub.all()) != test.messages {
					t.Errorf("%d messages published, want %d", len(pub.all()), test.messages)
				}
				checkStats(t, r, RequestCount{test.signal, w.encoding, test.outcome, 1})
			})
		}
	}
}

// checkStats wants one kind of request counted and nothing in flight any more.
func checkStats(t *testing.T, r *Receiver, want RequestCount) {
	t.Helper()
	st := r.Stats()
	if diff := cmp.Diff([]RequestCount{want}, st.Requests); diff != "" {
		t.Errorf("requests counted (-want +got):\n%s", diff)
	}
	if st.RequestsInFlight != 0 || st.BytesInFlight != 0 {
		t.Errorf("%d requests and %d bytes in flight after the answer", st.RequestsInFlight, st.BytesInFlight)
	}
}

// TestPublishedForm wants the payload on the shelf as it came, gzip and all.
func TestPublishedForm(t *testing.T) {
	request := spansOf(39, 30, nil)
	payload := encoded(t, request)
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			pub := new(shelf)
			r, addr := open(t, pub, Config{})
			body := payload
			if w.encoding == JSON {
				body = asJSON(t, request)
			}
			w.send(t, addr, otlp.Traces, body)
			if len(pub.all()) != 1 {
				t.Fatalf("%d messages, want 1", len(pub.all()))
			}
			m := pub.all()[0]
			want := map[string]string{"ce-type": "org.opentelemetry.otlp.traces.v1", "content-type": "application/protobuf"}
			data := m.Data
			if w.gzip && w.encoding != JSON {
				want["content-encoding"] = "gzip"
				if data = unzip(t, m.Data); w.encoding == Protobuf && !bytes.Equal(m.Data, zip(payload)) {
					t.Error("gzip bytes were changed")
				}
			}
			at, err := strconv.ParseInt(m.Attrs[otlp.AttrReceived], 10, 64)
			if ago := time.Since(time.Unix(0, at)); err != nil || ago < 0 || ago > time.Minute {
				t.Errorf("%s is %q", otlp.AttrReceived, m.Attrs[otlp.AttrReceived])
			}
			delete(m.Attrs, otlp.AttrReceived)
			if diff := cmp.Diff(want, m.Attrs); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			if !bytes.Equal(data, payload) {
				t.Errorf("published payload differs: %d bytes, want %d", len(data), len(payload))
			}
			st := r.Stats()
			if diff := cmp.Diff(ItemCount{Accepted: 39}, st.Spans); diff != "" {
				t.Error(diff)
			}
			if st.Messages != 1 || st.MessageBytes != uint64(len(m.Data)) {
				t.Errorf("counted %d messages of %d bytes, want 1 of %d", st.Messages, st.MessageBytes, len(m.Data))
			}
		})
	}
}

// TestInvalidSpansDropped wants the valid ones on the shelf, and only those.
func TestInvalidSpansDropped(t *testing.T) {
	pub := new(shelf)
	_, addr := open(t, pub, Config{})
	ways[1].send(t, addr, otlp.Traces, encoded(t, spansOf(5, 30, func(i int) bool { return i == 0 || i == 3 })))
	got := ptraceotlp.NewExportRequest()
	m := pub.all()[0]
	if _, packed := m.Attrs["content-encoding"]; packed {
		t.Error("a rebuilt payload is marked gzip")
	}
	if err := got.UnmarshalProto(m.Data); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, sp := range got.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().All() {
		names = append(names, sp.Name()[:1])
	}
	if diff := cmp.Diff([]string{"b", "c", "e"}, names); diff != "" {
		t.Error(diff)
	}
}

// TestGRPCClients uses the generated clients that the collector uses, and the standard health client.
func TestGRPCClients(t *testing.T) {
	pub := new(shelf)
	_, addr := open(t, pub, Config{})
	conn := dial(t, addr)
	ctx := t.Context()
	traces, err := ptraceotlp.NewGRPCClient(conn).Export(ctx, spansOf(3, 10, func(i int) bool { return i == 1 }))
	if err != nil || traces.PartialSuccess().RejectedSpans() != 1 {
		t.Errorf("traces: %d rejected, err %v", traces.PartialSuccess().RejectedSpans(), err)
	}
	logs, err := plogotlp.NewGRPCClient(conn).Export(ctx, recordsOf(3, 10))
	if err != nil || logs.PartialSuccess().RejectedLogRecords() != 0 {
		t.Errorf("logs: %v", err)
	}
	health := healthpb.NewHealthClient(conn)
	for service, want := range map[string]codes.Code{"": codes.OK, "opentelemetry.proto.collector.trace.v1.TraceService": codes.OK, "x": codes.NotFound} {
		resp, err := health.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if status.Code(err) != want || err == nil && resp.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, resp, err)
		}
	}
	err = conn.Invoke(ctx, "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export", &healthpb.HealthCheckRequest{}, &healthpb.HealthCheckResponse{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "unknown method") {
		t.Errorf("unknown method: %v", err)
	}
}

// TestOtherRequests covers what is not an export.
func TestOtherRequests(t *testing.T) {
	_, addr := open(t, new(shelf), Config{})
	tests := []struct {
		method, path, contentType, coding string
		want                              int
	}{
		{"GET", "/", "", "", 404},
		{"POST", "/", "application/json", "", 404},
		{"GET", "/healthz", "", "", 200},
		{"HEAD", "/healthz", "", "", 200},
		{"POST", "/healthz", "", "", 404},
		{"GET", "/metrics", "", "", 404},
		{"GET", "/v1/traces", "", "", 405},
		{"POST", "/v1/traces", "", "", 415},
		{"POST", "/v1/traces", "text/plain", "", 415},
		{"POST", "/v1/traces", "application/json", "br", 415},
		{"POST", "/v1/traces", "application/json; charset=utf-8", "identity", 400}, // empty text is no JSON
		{"POST", "/v1/traces", "application/x-protobuf", "", 200},
		{"POST", "/v1/traces", "application/grpc", "", 426},
	}
	for _, test := range tests {
		req, _ := http.NewRequest(test.method, "http://"+addr+test.path, nil)
		req.Header.Set("Content-Type", test.contentType)
		req.Header.Set("Content-Encoding", test.coding)
		resp, err := httpClient(t, false).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		body.ReadFrom(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%v: status %d, want %d", test, resp.StatusCode, test.want)
		}
		if lost := test.want == 404 || test.want == 405; lost && !strings.Contains(body.String(), "POST /v1/traces") {
			t.Errorf("%v: %q does not say where to send", test, body.String())
		}
	}
}
