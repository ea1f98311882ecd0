package exportertest

import (
	"context"
	"io"
	"log"
	"strings"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // the backend accepts what senders compress
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"tailweir/otlp"
)

// quiet swallows net/http's complaints about the clients that tests cut off.
var quiet = log.New(io.Discard, "", 0)

type traceServer struct {
	ptraceotlp.UnimplementedGRPCServer
	backend *Backend
}

func (s *traceServer) Export(ctx context.Context, r ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	payload, err := r.MarshalProto()
	if err != nil {
		return ptraceotlp.NewExportResponse(), status.Error(codes.Internal, err.Error())
	}
	a, err := s.backend.rpc(ctx, otlp.Traces, payload)
	return traceResponse(a), err
}

type logServer struct {
	plogotlp.UnimplementedGRPCServer
	backend *Backend
}

func (s *logServer) Export(ctx context.Context, r plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	payload, err := r.MarshalProto()
	if err != nil {
		return plogotlp.NewExportResponse(), status.Error(codes.Internal, err.Error())
	}
	a, err := s.backend.rpc(ctx, otlp.Logs, payload)
	return logResponse(a), err
}

type metricServer struct {
	pmetricotlp.UnimplementedGRPCServer
	backend *Backend
}

func (s *metricServer) Export(ctx context.Context, r pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	payload, err := r.MarshalProto()
	if err != nil {
		return pmetricotlp.NewExportResponse(), status.Error(codes.Internal, err.Error())
	}
	a, err := s.backend.rpc(ctx, otlp.Metrics, payload)
	return metricResponse(a), err
}

func (b *Backend) rpc(ctx context.Context, signal otlp.Signal, payload []byte) (Answer, error) {
	method, _ := grpc.Method(ctx)
	md, _ := metadata.FromIncomingContext(ctx)
	encoding, _ := ctx.Value(encodingKey{}).(*string)
	r := Request{Signal: signal, Method: "gRPC", Path: method, Headers: lower(md), Encoding: *encoding, Payload: payload}
	if p, ok := peer.FromContext(ctx); ok {
		r.From = p.Addr.String()
	}
	a := b.take(r)
	if a.Hang {
		b.hang(ctx)
		return a, status.FromContextError(ctx.Err()).Err()
	}
	if a.Code == codes.OK {
		return a, nil
	}
	st := status.New(a.Code, a.Message)
	if a.RetryDelay != 0 {
		detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(a.RetryDelay)})
		if err != nil {
			return a, status.Error(codes.Internal, err.Error())
		}
		st = detailed
	}
	return a, st.Err()
}

func traceResponse(a Answer) ptraceotlp.ExportResponse {
	res := ptraceotlp.NewExportResponse()
	res.PartialSuccess().SetRejectedSpans(a.Rejected)
	res.PartialSuccess().SetErrorMessage(a.PartialMessage)
	return res
}

func logResponse(a Answer) plogotlp.ExportResponse {
	res := plogotlp.NewExportResponse()
	res.PartialSuccess().SetRejectedLogRecords(a.Rejected)
	res.PartialSuccess().SetErrorMessage(a.PartialMessage)
	return res
}

func metricResponse(a Answer) pmetricotlp.ExportResponse {
	res := pmetricotlp.NewExportResponse()
	res.PartialSuccess().SetRejectedDataPoints(a.Rejected)
	res.PartialSuccess().SetErrorMessage(a.PartialMessage)
	return res
}

func lower(h map[string][]string) map[string][]string {
	out := make(map[string][]string, len(h)+1)
	for k, v := range h {
		out[strings.ToLower(k)] = v
	}
	return out
}

// encodingHandler remembers each call's grpc-encoding, which handlers do not see.
type encodingHandler struct{}

type encodingKey struct{}

func (encodingHandler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, encodingKey{}, new(string))
}

func (encodingHandler) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InHeader); ok {
		*ctx.Value(encodingKey{}).(*string) = in.Compression
	}
}

func (encodingHandler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (encodingHandler) HandleConn(context.Context, stats.ConnStats)                       {}
