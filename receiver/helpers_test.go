package receiver

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tailweir/otlp"
)

// message is what a shelf holds of a Publish.
type message struct {
	Data  []byte
	Attrs map[string]string
}

// shelf is a Publisher in memory. If before is set it is called first; its error refuses the message.
type shelf struct {
	before func(ctx context.Context, data []byte) error

	mu       sync.Mutex
	messages []message
}

func (s *shelf) Publish(ctx context.Context, data []byte, attrs map[string]string) error {
	if s.before != nil {
		if err := s.before(ctx, data); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, message{bytes.Clone(data), attrs})
	return nil
}

func (s *shelf) all() []message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messages
}

var errOutage = errors.New("pubsub: unavailable")

func outage(context.Context, []byte) error { return errOutage }

// untilDone publishes nothing and waits, as a client does whose server is silent.
func untilDone(ctx context.Context, _ []byte) error {
	<-ctx.Done()
	return ctx.Err()
}

// open starts a Receiver on a loopback port; it is stopped at the end of the test.
func open(t testing.TB, pub Publisher, cfg Config) (*Receiver, string) {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := New(pub, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r, l.Addr().String()
}

// httpClient speaks HTTP/1.1, or HTTP/2 with prior knowledge.
func httpClient(t testing.TB, h2c bool) *http.Client {
	var p http.Protocols
	p.SetHTTP1(!h2c)
	p.SetUnencryptedHTTP2(h2c)
	tr := &http.Transport{Protocols: &p, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// rawCodec sends bytes as they are, so that grpc-go can carry what is no protobuf.
type rawCodec struct{}

func (rawCodec) Name() string                  { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(b)
	return nil
}

func dial(t testing.TB, addr string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// gzipWriters are kept because a new one takes 800 kB.
var gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func zip(b []byte) []byte {
	var out bytes.Buffer
	w := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(w)
	w.Reset(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func unzip(t testing.TB, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// spansOf makes a traces payload of n spans with a name of nameSize bytes; those for which spoil says true have no
// span id.
func spansOf(n, nameSize int, spoil func(i int) bool) ptraceotlp.ExportRequest {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "shop")
	ss := rs.ScopeSpans().AppendEmpty()
	for i := range n {
		sp := ss.Spans().AppendEmpty()
		sp.SetTraceID(pcommon.TraceID{1, byte(i >> 8), byte(i)})
		if spoil == nil || !spoil(i) {
			sp.SetSpanID(pcommon.SpanID{2, byte(i >> 8), byte(i)})
		}
		sp.SetName(string(bytes.Repeat([]byte{'a' + byte(i%26)}, nameSize)))
		sp.SetStartTimestamp(1_700_000_000_000_000_000)
		sp.SetEndTimestamp(1_700_000_000_100_000_000)
	}
	return ptraceotlp.NewExportRequestFromTraces(td)
}

// recordsOf makes a logs payload of n records without trace id.
func recordsOf(n, bodySize int) plogotlp.ExportRequest {
	ld := plog.NewLogs()
	sl := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
	for range n {
		sl.LogRecords().AppendEmpty().Body().SetStr(string(bytes.Repeat([]byte{'x'}, bodySize)))
	}
	return plogotlp.NewExportRequestFromLogs(ld)
}

// pointsOf makes a metrics payload of one gauge with n points and one histogram with n points.
func pointsOf(n int) pmetricotlp.ExportRequest {
	md := pmetric.NewMetrics()
	ms := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics()
	gauge := ms.AppendEmpty().SetEmptyGauge()
	histogram := ms.AppendEmpty().SetEmptyHistogram()
	for range n {
		gauge.DataPoints().AppendEmpty().SetIntValue(7)
		histogram.DataPoints().AppendEmpty().SetCount(3)
	}
	return pmetricotlp.NewExportRequestFromMetrics(md)
}

type exportRequest interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

func encoded(t testing.TB, r exportRequest) []byte {
	t.Helper()
	b, err := r.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func asJSON(t testing.TB, r exportRequest) []byte {
	t.Helper()
	b, err := r.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func pathOf(s otlp.Signal, table map[string]otlp.Signal) string {
	for path, signal := range table {
		if signal == s {
			return path
		}
	}
	return ""
}
