package googletest

import (
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"cloud.google.com/go/trace/apiv2/tracepb"
	"google.golang.org/genproto/googleapis/api/monitoredres"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// today is the time of all tests: limits of age are met to the nanosecond.
var today = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

const (
	traceHex = "0102030405060708090a0b0c0d0e0f10"
	spanHex  = "00000000000000aa"
)

type fake struct {
	*Server
	conn *grpc.ClientConn
}

// start starts the fakes with the tests' time, and a client.
func start(t *testing.T, cfg Config) *fake {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return today }
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(s.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		s.Close()
	})
	return &fake{s, conn}
}

func (f *fake) writeSpans(t *testing.T, spans ...*tracepb.Span) error {
	_, err := tracepb.NewTraceServiceClient(f.conn).BatchWriteSpans(t.Context(), &tracepb.BatchWriteSpansRequest{Name: "projects/shop", Spans: spans})
	return err
}

func (f *fake) writeEntries(t *testing.T, r *loggingpb.WriteLogEntriesRequest) error {
	_, err := loggingpb.NewLoggingServiceV2Client(f.conn).WriteLogEntries(t.Context(), r)
	return err
}

// export sends an OTLP request as bytes and returns the response's.
func (f *fake) export(t *testing.T, method string, request []byte) (response []byte, err error) {
	err = f.conn.Invoke(t.Context(), method, &request, &response, grpc.ForceCodec(codec{}))
	return response, err
}

func newSpan() *tracepb.Span {
	return &tracepb.Span{
		Name: "projects/shop/traces/" + traceHex + "/spans/" + spanHex, SpanId: spanHex,
		DisplayName: text("GET /orders"), StartTime: timestamppb.New(today), EndTime: timestamppb.New(today.Add(time.Second)),
	}
}

func text(s string) *tracepb.TruncatableString { return &tracepb.TruncatableString{Value: s} }

func newEntry() *loggingpb.LogEntry {
	return &loggingpb.LogEntry{
		LogName: "projects/shop/logs/app", Resource: &monitoredres.MonitoredResource{Type: "generic_task"},
		Timestamp: timestamppb.New(today), InsertId: "one", Payload: &loggingpb.LogEntry_TextPayload{TextPayload: "hello"},
	}
}

func long(n int) string { return strings.Repeat("x", n) }

// wantCode fails the test unless err has the code.
func wantCode(t *testing.T, what string, err error, code codes.Code) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("%s: %v, want %v", what, err, code)
	}
}

// grow returns a function that makes a message have so many bytes by lengthening one of its strings.
func grow[M proto.Message](m M, set func(string)) func(n int) {
	return func(n int) {
		for pad := n - proto.Size(m); proto.Size(m) != n; pad += n - proto.Size(m) {
			set(long(pad))
		}
	}
}

func statusOf(message string) *statuspb.Status { return &statuspb.Status{Message: message} }
