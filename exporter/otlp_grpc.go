package exporter

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // CompressionGzip
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"tailweir/otlp"
	"tailweir/version"
)

// methods are the export methods by signal.
var methods = [...]string{
	otlp.Traces:  "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
	otlp.Logs:    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
	otlp.Metrics: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}

// rawCodec hands encoded messages through, so that a payload is not decoded only to be encoded again.
// Requests are []byte, answers *[]byte.
type rawCodec struct{}

// Name is the content subtype; the backend sees ordinary protobuf.
func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("marshal %T: want encoded bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("unmarshal into %T: want a byte slice", v)
	}
	*b = data.Materialize()
	return nil
}

// grpcSender speaks OTLP/gRPC over its connections in turn.
type grpcSender struct {
	conns      []*grpc.ClientConn
	turn       atomic.Uint32
	server     string // "grpc://host:port"
	headers    metadata.MD
	compressed bool
}

func newGRPCSender(c OTLPConfig, t targets, tlsConfig *tls.Config) (*grpcSender, error) {
	s := &grpcSender{server: "grpc://" + t.grpc, headers: metadata.New(c.Headers), compressed: c.Compression != CompressionNone}
	creds := insecure.NewCredentials()
	if t.secure {
		s.server = "grpcs://" + t.grpc
		creds = credentials.NewTLS(tlsConfig)
	}
	var call []grpc.CallOption
	if s.compressed {
		call = append(call, grpc.UseCompressor(c.Compression))
	}
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay, reconnect.MaxDelay = c.InitialBackoff, c.MaxBackoff
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(call...),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: c.Timeout}),
		// Finds a connection whose other side vanished; servers by default allow one ping in 5 minutes.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 5*time.Minute + 10*time.Second, Timeout: 20 * time.Second}),
		grpc.WithUserAgent(version.UserAgent()),
		grpc.WithDisableServiceConfig(), // it could bring a second retry policy
		grpc.WithDisableRetry(),
	}
	for range c.Connections {
		conn, err := grpc.NewClient("dns:///"+t.grpc, options...)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("otlp exporter connection to %s: %w", s.server, err), s.close())
		}
		s.conns = append(s.conns, conn)
	}
	return s, nil
}

func (s *grpcSender) endpoint(otlp.Signal) string { return s.server }

func (s *grpcSender) close() error {
	var errs []error
	for _, conn := range s.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// encode leaves compression to grpc, which frames what it compresses. Uncompressed bytes are copied: grpc
// may still be writing them when a cancelled attempt returns, and the batch is the caller's by then.
func (s *grpcSender) encode(payload []byte) ([]byte, error) {
	if s.compressed {
		return payload, nil
	}
	return bytes.Clone(payload), nil
}

func (s *grpcSender) attempt(ctx context.Context, signal otlp.Signal, body []byte) (*PartialError, *Fault) {
	conn := s.conns[s.turn.Add(1)%uint32(len(s.conns))]
	return SendGRPC(metadata.NewOutgoingContext(ctx, s.headers), conn, s.server, CodeVerdict, signal, body)
}

// SendGRPC sends an encoded export request over a connection, once. grpc may go on reading body when a call that was cut short has
// returned. The partial result is not nil when the backend confirmed with a partial success. server is for people.
func SendGRPC(ctx context.Context, conn grpc.ClientConnInterface, server string, table Table, signal otlp.Signal, body []byte) (*PartialError, *Fault) {
	var answer []byte
	if err := conn.Invoke(ctx, methods[signal], body, &answer, grpc.ForceCodecV2(rawCodec{})); err != nil {
		return nil, StatusFault(server, err, table)
	}
	return partialSuccess(signal, answer, false), nil
}
