package queue

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Bounds that Pub/Sub sets on leases.
const (
	minLease = 10 * time.Second
	maxLease = 600 * time.Second
)

// SubscriberConfig sets leases, credit and drain of a subscriber. The zero value means the defaults.
type SubscriberConfig struct {
	// Lease is how long a message stays ours without a sign of life, 10 s to 600 s in whole seconds; extensions are
	// sent at half of it. It is also how long the messages of a crashed process wait. Default 10 s.
	Lease time.Duration
	// MaxMessages and MaxBytes are the credit: so many unsettled messages and bytes of them, over all streams. The
	// server enforces it; where an emulator does not, reading pauses. The last response may go beyond it.
	// Defaults 20,000 and 512 MiB.
	MaxMessages, MaxBytes int
	// Streams is the number of StreamingPull streams, which share the credit evenly. Google serves about 10 MB/s on
	// one. Default 1.
	Streams int
	// Linger is how long a settled message waits for others to share its request. Default 50 ms.
	Linger time.Duration
	// Grace bounds how long Run goes on sending acks after its context ended. Default 5 s.
	Grace time.Duration
	// Insist makes Run reconnect after every error from the first stream on, as if one had lived: for a subscription that was
	// pulled from before.
	Insist bool
	// Broken is called when a stream ended though it was to go on: messages on their way in it come again when their
	// leases end. May be nil.
	Broken func()
	// Logger gets reconnects and lost acks. Default slog.Default().
	Logger *slog.Logger
}

func (cfg SubscriberConfig) withDefaults() SubscriberConfig {
	orDefault(&cfg.Lease, minLease)
	orDefault(&cfg.MaxMessages, 20_000)
	orDefault(&cfg.MaxBytes, 512<<20)
	orDefault(&cfg.Streams, 1)
	orDefault(&cfg.Linger, 50*time.Millisecond)
	orDefault(&cfg.Grace, 5*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return cfg
}

// Validate reports every setting out of its bounds.
func (cfg SubscriberConfig) Validate() error {
	cfg = cfg.withDefaults()
	return errors.Join(
		between("subscriber lease", cfg.Lease, minLease, maxLease),
		between("subscriber messages", cfg.MaxMessages, 1, 1<<30),
		between("subscriber bytes", cfg.MaxBytes, 1, 1<<40),
		between("subscriber streams", cfg.Streams, 1, min(100, cfg.MaxMessages)),
		between("subscriber linger", cfg.Linger, time.Millisecond, 2*time.Second),
		between("subscriber grace", cfg.Grace, time.Millisecond, time.Hour),
	)
}

func orDefault[T comparable](setting *T, value T) {
	var zero T
	if *setting == zero {
		*setting = value
	}
}

func between[T cmp.Ordered](what string, value, low, high T) error {
	if value < low || value > high {
		return fmt.Errorf("queue: %s is %v, want %v to %v", what, value, low, high)
	}
	return nil
}

// wholeSeconds rounds up: a message must not come back before the delay that was asked for.
func wholeSeconds(d time.Duration) int32 {
	return int32((min(max(d, 0), maxLease) + time.Second - 1) / time.Second)
}
