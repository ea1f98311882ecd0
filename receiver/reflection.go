package receiver

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	collectorlogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// isReflection are the methods of gRPC server reflection; grpcurl asks for the first, older tools for the second.
var isReflection = map[string]bool{
	reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName:      true,
	reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: true,
}

// maxReflection bounds a request of reflection, which holds a name.
const maxReflection = 4 << 10

// newReflection is a grpc-go server behind net/http: slower than the calls spoken by hand, but it speaks streams, and people ask
// rarely. It knows the descriptors of what is served here and of nothing else that happens to be linked.
func newReflection() http.Handler {
	var files protoregistry.Files
	for service, f := range map[string]protoreflect.FileDescriptor{
		"Trace":   collectortrace.File_opentelemetry_proto_collector_trace_v1_trace_service_proto,
		"Logs":    collectorlogs.File_opentelemetry_proto_collector_logs_v1_logs_service_proto,
		"Metrics": collectormetrics.File_opentelemetry_proto_collector_metrics_v1_metrics_service_proto,
	} {
		registerOTLP(&files, f, service)
	}
	for _, f := range []protoreflect.FileDescriptor{
		healthpb.File_grpc_health_v1_health_proto,
		reflectionv1.File_grpc_reflection_v1_reflection_proto,
		reflectionv1alpha.File_grpc_reflection_v1alpha_reflection_proto,
	} {
		must(files.RegisterFile(f)) // none of which imports another
	}
	opts := reflection.ServerOptions{Services: served{}, DescriptorResolver: &files, ExtensionResolver: new(protoregistry.Types)}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(maxReflection), grpc.MaxHeaderListSize(maxReflection))
	reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(opts))
	reflectionv1alpha.RegisterServerReflectionServer(s, reflection.NewServer(opts))
	return s
}

// registerOTLP adds a file of OTLP and what it imports, with the service in it unless that is "". OpenTelemetry's slim module has the
// messages under names of its own and without services, so that it can be linked beside the other, which brings an HTTP gateway
// along: 2 MB for descriptors. So the names are put right here and the services, of one method each, are added.
func registerOTLP(files *protoregistry.Files, f protoreflect.FileDescriptor, service string) {
	path := strings.Replace(f.Path(), "proto/slim/", "proto/", 1)
	if _, err := files.FindFileByPath(path); err == nil {
		return
	}
	for i := range f.Imports().Len() {
		registerOTLP(files, f.Imports().Get(i).FileDescriptor, "")
	}
	text, err := protojson.Marshal(protodesc.ToFileDescriptorProto(f))
	must(err)
	text = bytes.ReplaceAll(text, []byte("opentelemetry/proto/slim/"), []byte("opentelemetry/proto/"))
	text = bytes.ReplaceAll(text, []byte("opentelemetry.proto.slim."), []byte("opentelemetry.proto."))
	var file descriptorpb.FileDescriptorProto
	must(protojson.Unmarshal(text, &file))
	if service != "" {
		message := func(suffix string) *string {
			return proto.String("." + file.GetPackage() + ".Export" + service + "Service" + suffix)
		}
		file.Service = []*descriptorpb.ServiceDescriptorProto{{Name: proto.String(service + "Service"), Method: []*descriptorpb.MethodDescriptorProto{
			{Name: proto.String("Export"), InputType: message("Request"), OutputType: message("Response")},
		}}}
	}
	right, err := protodesc.NewFile(&file, files)
	must(err)
	must(files.RegisterFile(right))
}

// must is for what is the same in every run, and so in every test.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("descriptors of OTLP: %v", err))
	}
}

// serveReflection answers who may send.
func (r *Receiver) serveReflection(w http.ResponseWriter, req *http.Request) {
	if gate := r.cfg.Gate; gate != nil {
		if _, denial := gate.Admit(req); denial != nil {
			r.writeGRPC(w, answer{outcome: denial.Reason.outcome(), text: denial.Text, retry: denial.RetryAfter})
			return
		}
	}
	if !r.streams.take(1) {
		writeGRPCStatus(w, codes.ResourceExhausted, "too many streams", nil)
		return
	}
	defer r.streams.give(1)
	r.reflection.ServeHTTP(w, req)
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
