package receiver

import (
	"io"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
)

// healthCheck is the method of grpc.health.v1 that probes call. Watch is answered UNIMPLEMENTED like any unknown
// method, which clients take for healthy.
const healthCheck = "/grpc.health.v1.Health/Check"

// healthPath is the same for probes by HTTP. Nothing else of the process is told on this port: apps can reach it.
const healthPath = "/healthz"

// maxHealthRequest bounds a HealthCheckRequest: it holds a service name.
const maxHealthRequest = 1024

// healthServices are the names that a probe may ask for; "" is the server.
var healthServices = map[string]bool{
	"": true,
	"opentelemetry.proto.collector.trace.v1.TraceService":     true,
	"opentelemetry.proto.collector.logs.v1.LogsService":       true,
	"opentelemetry.proto.collector.metrics.v1.MetricsService": true,
}

const (
	healthServing    = 1
	healthNotServing = 2
)

// serveHealth answers SERVING, and NOT_SERVING once Serve was told to stop.
func (r *Receiver) serveHealth(w http.ResponseWriter, req *http.Request) {
	frame, err := io.ReadAll(io.LimitReader(req.Body, maxHealthRequest))
	if err != nil || len(frame) < frameHeader || len(frame) == maxHealthRequest || frame[0] != 0 {
		writeGRPCStatus(w, codes.InvalidArgument, "health request malformed", nil)
		return
	}
	service, ok := healthService(frame[frameHeader:])
	switch {
	case !ok:
		writeGRPCStatus(w, codes.InvalidArgument, "health request malformed", nil)
		return
	case !healthServices[service]:
		writeGRPCStatus(w, codes.NotFound, "unknown service "+service, nil)
		return
	}
	state := uint64(healthServing)
	if r.draining.Load() {
		state = healthNotServing
	}
	writeGRPCMessage(w, protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), state))
}

// serveHealthHTTP is serveHealth for HTTP: 200, and 503 once Serve was told to stop.
func (r *Receiver) serveHealthHTTP(w http.ResponseWriter) {
	if r.draining.Load() {
		plain(w, http.StatusServiceUnavailable, "stopping")
		return
	}
	io.WriteString(w, "ok\n")
}

// healthService reads field 1 of a HealthCheckRequest.
func healthService(message []byte) (service string, ok bool) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return "", false
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		if size < 0 {
			return "", false
		}
		if number == 1 && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message[n:])
			service = string(value)
		}
		message = message[n+size:]
	}
	return service, true
}
