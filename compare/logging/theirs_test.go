package logging

import (
	"context"
	"testing"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"github.com/GoogleCloudPlatform/opentelemetry-operations-go/exporter/collector"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	project = "shop-project" // what both are configured with
	logName = "app"
)

// theirs is Google's exporter in the collector, with its default configuration but for project and log name.
type theirs struct {
	server   *server
	exporter *collector.LogsExporter
}

func startTheirs(t *testing.T) *theirs {
	t.Helper()
	s := startServer(t)
	conn, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(checkEncoding))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	config := collector.DefaultConfig()
	config.ProjectID = project
	config.LogConfig.DefaultLogName = logName
	config.LogConfig.ClientConfig.GetClientOptions = func() []option.ClientOption {
		return []option.ClientOption{option.WithGRPCConn(conn)}
	}
	settings := exporter.Settings{TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	e, err := collector.NewGoogleCloudLogsExporter(t.Context(), config, settings, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Shutdown(context.Background()) })
	return &theirs{s, e}
}

// checkEncoding fails at once on a request that cannot be encoded. gRPC would say INTERNAL, which their client tries again until
// its timeout, with the same end.
func checkEncoding(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, err := proto.Marshal(req.(proto.Message)); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return invoke(ctx, method, req, reply, conn, opts...)
}

func (th *theirs) export(ctx context.Context, logs plog.Logs) ([]*loggingpb.LogEntry, error) {
	err := th.exporter.PushLogs(ctx, logs)
	return th.server.take(), err
}
