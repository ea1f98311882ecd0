package receiver

import (
	"fmt"
	"net/http"

	collectorlogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// isReflection are the methods of gRPC server reflection; grpcurl asks for the first, older tools for the second.
var isReflection = map[string]bool{
	reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName:      true,
	reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: true,
}

// maxReflection bounds a request of reflection, which holds a name, and its streams on one connection.
const maxReflection = 4 << 10

// newReflection is a grpc-go server behind net/http: slower than the calls spoken by hand, but it speaks streams, and people ask
// rarely. It knows the descriptors of what is served here and of nothing else that happens to be linked.
func newReflection() http.Handler {
	var files protoregistry.Files
	for _, f := range []protoreflect.FileDescriptor{
		collectortrace.File_opentelemetry_proto_collector_trace_v1_trace_service_proto,
		collectorlogs.File_opentelemetry_proto_collector_logs_v1_logs_service_proto,
		collectormetrics.File_opentelemetry_proto_collector_metrics_v1_metrics_service_proto,
		healthpb.File_grpc_health_v1_health_proto,
		reflectionv1.File_grpc_reflection_v1_reflection_proto,
		reflectionv1alpha.File_grpc_reflection_v1alpha_reflection_proto,
	} {
		register(&files, f)
	}
	opts := reflection.ServerOptions{Services: served{}, DescriptorResolver: &files, ExtensionResolver: new(protoregistry.Types)}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(maxReflection), grpc.MaxHeaderListSize(maxReflection))
	reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(opts))
	reflectionv1alpha.RegisterServerReflectionServer(s, reflection.NewServer(opts))
	return s
}

// register adds a file and what it imports.
func register(files *protoregistry.Files, f protoreflect.FileDescriptor) {
	if _, err := files.FindFileByPath(f.Path()); err == nil {
		return
	}
	for i := range f.Imports().Len() {
		register(files, f.Imports().Get(i).FileDescriptor)
	}
	if err := files.RegisterFile(f); err != nil {
		panic(fmt.Sprintf("register %s: %v", f.Path(), err)) // two files of one name cannot be linked
	}
}

// served names the services, which grpc-go's server knows only in part.
type served struct{}

func (served) GetServiceInfo() map[string]grpc.ServiceInfo {
	all := map[string]grpc.ServiceInfo{
		healthpb.Health_ServiceDesc.ServiceName:                    {},
		reflectionv1.ServerReflection_ServiceDesc.ServiceName:      {},
		reflectionv1alpha.ServerReflection_ServiceDesc.ServiceName: {},
	}
	for name := range healthServices {
		if name != "" {
			all[name] = grpc.ServiceInfo{}
		}
	}
	return all
}
