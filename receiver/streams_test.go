package receiver

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// TestWatch follows the health of a server until it is told to stop.
func TestWatch(t *testing.T) {
	r, addr := open(t, new(shelf), Config{ReadTimeout: 100 * time.Millisecond, PublishTimeout: 50 * time.Millisecond})
	client := healthpb.NewHealthClient(dial(t, addr))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	watch := func(service string) grpc.ServerStreamingClient[healthpb.HealthCheckResponse] {
		s, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	next := func(s grpc.ServerStreamingClient[healthpb.HealthCheckResponse], want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if got, err := s.Recv(); err != nil || got.Status != want {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	server, unknown := watch(""), watch("no.such.Service")
	next(server, healthpb.HealthCheckResponse_SERVING)
	next(unknown, healthpb.HealthCheckResponse_SERVICE_UNKNOWN)

	left, leave := context.WithCancel(ctx)
	gone, err := client.Watch(left, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next(gone, healthpb.HealthCheckResponse_SERVING)
	leave()
	awaitStreams(t, r, 2)

	time.Sleep(500 * time.Millisecond) // beyond all timeouts of the server, whose clock is the real one here
	r.drain()
	next(server, healthpb.HealthCheckResponse_NOT_SERVING)
	for _, s := range []grpc.ServerStreamingClient[healthpb.HealthCheckResponse]{server, unknown} {
		if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("the end of a Watch: %v, want UNAVAILABLE", err)
		}
	}
	awaitStreams(t, r, 0)
}

// awaitStreams waits until so many streams are open.
func awaitStreams(t *testing.T, r *Receiver, want int64) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); r.streams.used.Load() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d streams are open, want %d", r.streams.used.Load(), want)
		}
	}
}

// TestWatchBound wants one Watch too many refused.
func TestWatchBound(t *testing.T) {
	r, addr := open(t, new(shelf), Config{})
	r.streams.max = 1
	client := healthpb.NewHealthClient(dial(t, addr))
	first, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Recv(); err != nil {
		t.Fatal(err)
	}
	second, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one too many: %v", err)
	}
}

var servedHere = []string{
	"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
	"opentelemetry.proto.collector.logs.v1.LogsService", "opentelemetry.proto.collector.metrics.v1.MetricsService",
	"opentelemetry.proto.collector.trace.v1.TraceService",
}

// TestReflection asks as grpcurl does: which services, and the files that describe one.
func TestReflection(t *testing.T) {
	_, addr := open(t, new(shelf), Config{Reflection: true})
	stream, err := reflectionv1.NewServerReflectionClient(dial(t, addr)).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *reflectionv1.ServerReflectionRequest) *reflectionv1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	var names []string
	for _, s := range ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}).GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, servedHere) {
		t.Errorf("services %q, want %q", names, servedHere)
	}
	symbol := func(name string) *reflectionv1.ServerReflectionResponse {
		return ask(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}})
	}
	for _, name := range append(slices.Clone(servedHere), "opentelemetry.proto.common.v1.AnyValue") {
		files := symbol(name).GetFileDescriptorResponse().GetFileDescriptorProto()
		if len(files) == 0 {
			t.Errorf("no file describes %s", name)
		}
		for _, b := range files {
			if err := proto.Unmarshal(b, new(descriptorpb.FileDescriptorProto)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if e := symbol("google.pubsub.v1.Publisher").GetErrorResponse(); e == nil {
		t.Error("it describes what is linked, but not served")
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("end of the stream: %v", err)
	}

	// v1alpha has the same messages under other names.
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	old, err := dial(t, addr).NewStream(t.Context(), desc, reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.SendMsg(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	resp := new(reflectionv1.ServerReflectionResponse)
	if err := old.RecvMsg(resp); err != nil || len(resp.GetListServicesResponse().GetService()) != len(servedHere) {
		t.Errorf("v1alpha: %v, %v", resp, err)
	}
	old.CloseSend()
}

// TestReflectionIsClosed wants reflection answered neither when it is off nor past a gate.
func TestReflectionIsClosed(t *testing.T) {
	for want, cfg := range map[codes.Code]Config{codes.Unimplemented: {}, codes.Unauthenticated: {Reflection: true, Gate: closed{}}} {
		_, addr := open(t, new(shelf), cfg)
		stream, err := reflectionv1.NewServerReflectionClient(dial(t, addr)).ServerReflectionInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}
