package googletest

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/otlp"
)

// method is an RPC whose requests are read as bytes.
type method struct {
	api    API
	signal otlp.Signal        // of the Telemetry API
	items  []protowire.Number // the fields that lead to an item
	count  func(*Stats) *int  // where its items are counted
}

// methods are those of the Telemetry API, and with Config.Unread all.
var methods = map[string]method{
	"/google.devtools.cloudtrace.v2.TraceService/BatchWriteSpans": {CloudTrace, 0, []protowire.Number{2}, countSpans},
	"/google.logging.v2.LoggingServiceV2/WriteLogEntries":         {CloudLogging, 0, []protowire.Number{4}, func(st *Stats) *int { return &st.Entries }},
	"/opentelemetry.proto.collector.trace.v1.TraceService/Export": {Telemetry, otlp.Traces, []protowire.Number{1, 2, 2}, countSpans},
	"/opentelemetry.proto.collector.logs.v1.LogsService/Export":   {Telemetry, otlp.Logs, []protowire.Number{1, 2, 2}, func(st *Stats) *int { return &st.Records }},
}

func countSpans(st *Stats) *int { return &st.Spans }

func (s *Server) serveBytes(_ any, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream)
	m, known := methods[name]
	if !known {
		return status.Errorf(codes.Unimplemented, "method %s is not served", name)
	}
	var request, response []byte
	err := stream.RecvMsg(&request)
	switch {
	case err != nil:
	case s.cfg.Unread:
		err = s.countAlone(stream, m, request)
	default:
		response, err = s.export(stream, m.signal, request)
	}
	if err != nil {
		return err
	}
	return stream.SendMsg(&response)
}

// countAlone counts the items of a request, of which nothing else is read.
func (s *Server) countAlone(stream grpc.ServerStream, m method, request []byte) error {
	items, ok := countFields(request, m.items)
	return s.handle(stream.Context(), m.api, items, Request{Signal: m.signal, OTLP: request}, func(*Fault) error {
		if !ok {
			return status.Error(codes.InvalidArgument, "request malformed")
		}
		s.store.mu.Lock()
		defer s.store.mu.Unlock()
		*m.count(&s.store.stats) += items
		return nil
	})
}

// countFields counts the fields at the end of a path of messages.
func countFields(b []byte, path []protowire.Number) (count int, ok bool) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return count, false
		}
		end := protowire.ConsumeFieldValue(field, kind, b[n:])
		if end < 0 {
			return count, false
		}
		if field == path[0] && kind == protowire.BytesType {
			inner, ok := 1, true
			if len(path) > 1 {
				body, _ := protowire.ConsumeBytes(b[n:])
				inner, ok = countFields(body, path[1:])
			}
			if count += inner; !ok {
				return count, false
			}
		}
		b = b[n+end:]
	}
	return count, true
}
