package logging

import (
	"context"
	"maps"
	"net"
	"sync"
	"testing"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// server is a Logging API that takes everything. It refuses nothing, so that what an exporter would have sent is seen.
type server struct {
	loggingpb.UnimplementedLoggingServiceV2Server
	address string

	mu      sync.Mutex
	entries []*loggingpb.LogEntry // guarded by mu
}

func startServer(t *testing.T) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: listener.Addr().String()}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	loggingpb.RegisterLoggingServiceV2Server(g, s)
	go g.Serve(listener)
	t.Cleanup(g.Stop)
	return s
}

// WriteLogEntries gives each entry what the request says for all of them, as the API does.
func (s *server) WriteLogEntries(_ context.Context, r *loggingpb.WriteLogEntriesRequest) (*loggingpb.WriteLogEntriesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range r.Entries {
		e = proto.Clone(e).(*loggingpb.LogEntry)
		if e.LogName == "" {
			e.LogName = r.LogName
		}
		if e.Resource == nil {
			e.Resource = r.Resource
		}
		if len(r.Labels) > 0 {
			labels := maps.Clone(r.Labels)
			maps.Copy(labels, e.Labels)
			e.Labels = labels
		}
		s.entries = append(s.entries, e)
	}
	return &loggingpb.WriteLogEntriesResponse{}, nil
}

// take returns what came since the last take.
func (s *server) take() []*loggingpb.LogEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := s.entries
	s.entries = nil
	return entries
}
