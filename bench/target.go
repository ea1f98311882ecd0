package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
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
	sink    string
	sinkRPC string
	google  string

	env   []string // of the processes, set by configure
	sinks sinks    // the worker's exporters
	alone bool     // fleet: off
	pin   string   // path of taskset: each worker gets one core; "" = as the system does it
}

// windowing is the worker's window and hold in this run.
type windowing struct {
	settle, idle time.Duration
	delay, death time.Duration // start_delay, fleet_timing.death; 0 = the default
	hold         string        // bytes held un-acked, with a unit
	rpc          bool          // the worker exports by gRPC, where it does by OTLP
	sinks        sinks         // the worker's exporters
	logs         string        // logs.keep
	alone        bool          // fleet: off
	pin          string        // see target
}

// stats is what GET /api/stats says of a worker, as far as it is of use here.
type stats struct {
	Received, Kept, Dropped, Deadlettered, Returned, Duplicate items

	InFlight items `json:"in_flight"`
	Held     struct {
		Messages, Redelivered int
		Bytes                 int
	}
	Fleet struct {
		Phase         string
		Anomalies     map[string]int
		Fences, Terms int
		FactsBytes    int `json:"facts_bytes"`
		FragmentsSent int `json:"fragments_sent"`
		LogBytes      int `json:"log_bytes"`
		LogRead       int `json:"log_read"`
		SteppedDown   int `json:"stepped_down"`
	}
	outside int // workers that have no place in the fleet
}

type items struct{ Spans, Traces, Logs int }

// plus adds up workers, but for their phase. The log is read by each of them.
func (s stats) plus(o stats) stats { return s.with(o, 1) }

// since is what happened after o, but for the anomalies, which stay.
func (s stats) since(o stats) stats { return s.with(o, -1) }

func (s stats) with(o stats, sign int) stats {
	to, from := s.numbers(), o.numbers()
	for i := range to {
		*to[i] += sign * *from[i]
	}
	all := maps.Clone(s.Fleet.Anomalies)
	for kind, n := range o.Fleet.Anomalies {
		if all == nil {
			all = map[string]int{}
		}
		all[kind] = max(all[kind], all[kind]+sign*n)
	}
	s.Fleet.Anomalies = all
	return s
}

// numbers are the counters.
func (s *stats) numbers() (all []*int) {
	for _, i := range []*items{&s.Received, &s.Kept, &s.Dropped, &s.Deadlettered, &s.Returned, &s.Duplicate, &s.InFlight} {
		all = append(all, &i.Spans, &i.Traces, &i.Logs)
	}
	f := &s.Fleet
	return append(all, &s.outside, &s.Held.Messages, &s.Held.Redelivered, &s.Held.Bytes,
		&f.Fences, &f.Terms, &f.FactsBytes, &f.FragmentsSent, &f.LogBytes, &f.LogRead, &f.SteppedDown)
}

// ask adds up what the workers say now; an error when one does not answer.
func ask(ctx context.Context, workers []*part) (sum stats, err error) {
	for _, p := range workers {
		s, err := p.ask(ctx)
		if err != nil {
			return sum, fmt.Errorf("ask %s: %w", p.name, err)
		}
		sum = sum.plus(s)
	}
	return sum, nil
}

func (p *part) ask(ctx context.Context) (s stats, err error) {
	err = getJSON(ctx, "http://"+p.console+"/api/stats", &s)
	if s.Fleet.Phase != "holding" && s.Fleet.Phase != "leading" {
		s.outside = 1
	}
	return s, err
}

func newTarget(dir string) (*target, error) {
	t := &target{dir: dir}
	for _, addr := range []*string{&t.control, &t.broker, &t.ingest, &t.sink, &t.sinkRPC, &t.google} {
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

// configure writes the configuration of all processes.
func (t *target) configure(w windowing) error {
	_, port, err := net.SplitHostPort(t.ingest)
	if err != nil {
		return err
	}
	t.sinks = w.sinks
	config := filepath.Join(t.dir, "tailweir.yaml")
	delay := ""
	if w.delay > 0 {
		delay = fmt.Sprintf(", start_delay: %v", w.delay)
	}
	fleet := "fleet: pubsub\n"
	switch {
	case w.alone:
		fleet = "fleet: off\n"
	case w.death > 0:
		fleet += fmt.Sprintf("fleet_timing: {death: %v}\n", w.death)
	}
	text := fmt.Sprintf("%swindow: {settle: %v, idle: %v, max_age: %v%s}\nhold: {max_bytes: %s}\nlogs: {keep: %s}\n%s",
		fleet, w.settle, w.idle, max(time.Minute, 2*w.idle), delay, w.hold, w.logs, t.exporters(w.rpc))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	t.alone, t.pin = w.alone, w.pin
	t.env = []string{
		"PUBSUB_EMULATOR_HOST=" + t.broker,
		"GOOGLE_CLOUD_PROJECT=bench",
		"PORT=" + port,
		"TAILWEIR_CONFIG=" + config,
	}
	return nil
}
