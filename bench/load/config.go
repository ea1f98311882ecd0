package load

import (
	"errors"
	"fmt"
	"net"
	"time"

	"tailweir/bench/ledger"
)

// Config says what to send and where.
type Config struct {
	ledger.Run
	Target      string        // host:port of an OTLP receiver on this machine
	GRPC        bool          // OTLP/gRPC; otherwise OTLP/HTTP protobuf
	Gzip        bool          // compress, as SDKs do only when told
	Logs        bool          // also send log records, one for every second span
	Connections int           // 64; each has one request under way
	Rate        float64       // spans per second; 0 = as fast as they are acknowledged
	Spans       int           // begin no trace after this many spans; 0 = no such limit
	Duration    time.Duration // begin no trace after this long; 0 = no such limit

	RetryInitial time.Duration // 5 s; the SDKs' values
	RetryMax     time.Duration // 30 s
	RetryFor     time.Duration // 1 min; then the payload counts as failed
	Binding      time.Duration // 4 s; a deciding span acknowledged later than this after its time binds no verdict
	Gap          time.Duration // traces whose items may have been published further apart than this bind no verdict; 0 = any distance is well. Also reports when each trace ended
}

const (
	mostSpans       = 200_000_000
	mostDuration    = time.Hour
	mostConnections = 256
)

// Defaults sends one million spans as fast as they are acknowledged.
func Defaults() Config {
	return Config{
		Run: ledger.Run{ID: 1, Seed: 1}, Target: "127.0.0.1:4318", Connections: 64,
		RetryInitial: 5 * time.Second, RetryMax: 30 * time.Second, RetryFor: time.Minute, Binding: 4 * time.Second,
	}
}

// Validate reports every fault. A target on another machine is one: the load is
// a flood, and only the machine it runs on is known to be the user's to flood.
func (c Config) Validate() error {
	var faults []error
	if err := onLoopback(c.Target); err != nil {
		faults = append(faults, err)
	}
	if c.Spans == 0 && c.Duration == 0 {
		faults = append(faults, errors.New("neither spans nor duration is set"))
	}
	if c.Spans < 0 || c.Spans > mostSpans {
		faults = append(faults, fmt.Errorf("spans %d: want at most %d", c.Spans, mostSpans))
	}
	if c.Duration < 0 || c.Duration > mostDuration {
		faults = append(faults, fmt.Errorf("duration %v: want at most %v", c.Duration, mostDuration))
	}
	if c.Connections < 1 || c.Connections > mostConnections {
		faults = append(faults, fmt.Errorf("connections %d: want 1 to %d", c.Connections, mostConnections))
	}
	if c.RetryInitial <= 0 || c.RetryMax < c.RetryInitial || c.RetryFor < 0 {
		faults = append(faults, fmt.Errorf("retries after %v to %v for %v: want them above 0, the second not below the first", c.RetryInitial, c.RetryMax, c.RetryFor))
	}
	if c.Rate < 0 {
		faults = append(faults, fmt.Errorf("rate %v: want 0 or more", c.Rate))
	}
	return errors.Join(faults...)
}

func onLoopback(target string) error {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return fmt.Errorf("target %q: %w", target, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("target %q: want an address on loopback", target)
	}
	return nil
}
