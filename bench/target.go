package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// target is all that the bench knows of the commands it runs: their names,
// environment, flags and addresses.
type target struct {
	dir     string // of logs and the worker's configuration
	bin     string // of the binaries; dir when empty
	control string // of the broker
	broker  string // host:port, like all that follow
	ingest  string
	console string
	sink    string
	sinkRPC string
}

// windowing is the worker's window and hold in this run.
type windowing struct {
	settle, idle time.Duration
	delay        time.Duration // start_delay; 0 = the default
	hold         string        // bytes held un-acked, with a unit
	rpc          bool          // the worker exports by gRPC
	logs         string        // logs.keep
}

// drained is how the worker says that nothing is under way: GET /api/stats.
type drained struct {
	Received, Kept, Dropped, Deadlettered, Returned, Duplicate struct{ Spans, Traces, Logs int }

	InFlight struct{ Spans, Traces, Logs int } `json:"in_flight"`
}

func newTarget(dir string) (*target, error) {
	t := &target{dir: dir}
	for _, addr := range []*string{&t.control, &t.broker, &t.ingest, &t.console, &t.sink, &t.sinkRPC} {
		l, err := listenLow()
		if err != nil {
			return nil, err
		}
		defer l.Close() // all at the end, so that no port comes twice
		*addr = l.Addr().String()
	}
	return t, nil
}

// nextPort counts up from anywhere, so that no port comes twice in this process, and rarely in two.
var nextPort atomic.Int64

func init() { nextPort.Store(rand.Int64N(lowPorts)) }

const lowPorts = 20_000

// listenLow listens on a port below those that the kernel gives to outgoing connections: one of these could take the port
// of a process while it is dead.
func listenLow() (l net.Listener, err error) {
	for range 100 {
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 12_000+nextPort.Add(1)%lowPorts)); err == nil {
			return l, nil
		}
	}
	return nil, err
}

// binary is the path of a program: one that was built, or any other by its whole path.
func (t *target) binary(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(cmp.Or(t.bin, t.dir), name)
}

// packages are what to build, by the name of the binary.
func (t *target) packages() map[string]string {
	return map[string]string{"ingest": "./cmd/ingest", "worker": "./cmd/worker", "bench": "./bench"}
}

func (t *target) environment(w windowing) ([]string, error) {
	_, port, err := net.SplitHostPort(t.ingest)
	if err != nil {
		return nil, err
	}
	endpoint := "http://" + t.sink
	if w.rpc {
		endpoint = "grpc://" + t.sinkRPC
	}
	config := filepath.Join(t.dir, "tailweir.yaml")
	delay := ""
	if w.delay > 0 {
		delay = fmt.Sprintf(", start_delay: %v", w.delay)
	}
	text := fmt.Sprintf("window: {settle: %v, idle: %v, max_age: %v%s}\nhold: {max_bytes: %s}\nlogs: {keep: %s}\nexporters:\n  - {type: otlp, endpoint: %q}\n",
		w.settle, w.idle, max(time.Minute, 2*w.idle), delay, w.hold, w.logs, endpoint)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return []string{
		"PUBSUB_EMULATOR_HOST=" + t.broker,
		"GOOGLE_CLOUD_PROJECT=bench",
		"PORT=" + port,
		"TAILWEIR_CONSOLE=" + t.console,
		"TAILWEIR_CONFIG=" + config,
	}, nil
}
