package receiver

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
)

// The methods of grpc.health.v1: Check is what probes call, Watch what clients do that check the health of what they are connected to.
const (
	healthCheck = "/grpc.health.v1.Health/Check"
	healthWatch = "/grpc.health.v1.Health/Watch"
)

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
	healthServing        = 1
	healthNotServing     = 2
	healthServiceUnknown = 3
)

// maxStreamCalls bounds the calls of Watch and reflection, each of which takes a goroutine for as long as its client likes.
const maxStreamCalls = 1000

// serveHealth answers SERVING, and NOT_SERVING once Serve was told to stop.
func (r *Receiver) serveHealth(w http.ResponseWriter, req *http.Request) {
	service, ok := readHealth(w, req)
	switch {
	case !ok:
	case !healthServices[service]:
		writeGRPCStatus(w, codes.NotFound, "unknown service "+service, nil)
	default:
		writeGRPCMessage(w, healthState(r.health()))
	}
}

// serveWatch sends what serveHealth would answer, and again when Serve is told to stop, which is when it ends by itself. A
// service that is not known may come to be known, so says the protocol, and is no error.
func (r *Receiver) serveWatch(w http.ResponseWriter, req *http.Request) {
	service, ok := readHealth(w, req)
	if !ok {
		return
	}
	if !r.streams.take(1) {
		writeGRPCStatus(w, codes.ResourceExhausted, "too many streams", nil)
		return
	}
	defer r.streams.give(1)
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Time{}); err != nil { // the server's is for answers that end
		writeGRPCStatus(w, codes.Unimplemented, "Watch needs a stream", nil)
		return
	}
	send := func(state uint64) {
		w.Write(inFrame(healthState(state)))
		control.Flush()
	}
	h := w.Header()
	h["Content-Type"] = grpcContentType
	if !healthServices[service] {
		send(healthServiceUnknown)
	} else {
		send(r.health())
	}
	select {
	case <-req.Context().Done():
		return
	case <-r.stopping:
	}
	if healthServices[service] {
		send(healthNotServing)
	}
	h[http.TrailerPrefix+"Grpc-Status"] = []string{strconv.Itoa(int(codes.Unavailable))}
	h[http.TrailerPrefix+"Grpc-Message"] = []string{"stopping"}
}

func (r *Receiver) health() uint64 {
	if r.draining.Load() {
		return healthNotServing
	}
	return healthServing
}

// healthState is a HealthCheckResponse.
func healthState(state uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), state)
}

// readHealth reads the service that a HealthCheckRequest asks for; one that is malformed it answers.
func readHealth(w http.ResponseWriter, req *http.Request) (service string, ok bool) {
	frame, err := io.ReadAll(io.LimitReader(req.Body, maxHealthRequest))
	if err == nil && len(frame) >= frameHeader && len(frame) < maxHealthRequest && frame[0] == 0 {
		service, ok = healthService(frame[frameHeader:])
	}
	if !ok {
		writeGRPCStatus(w, codes.InvalidArgument, "health request malformed", nil)
	}
	return service, ok
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
