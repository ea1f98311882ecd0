package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tailweir/queue"
)

// UsageError is the user's to mend: a bad flag, a bad file, a taken port. The process says it in one line and exits 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Main runs a command until SIGINT or SIGTERM and returns its exit status: 0, 2 for a usage error, 1 for any other. A
// second signal ends the process at once, as if it had no handler.
func Main(name string, run func(ctx context.Context, args []string, getenv func(string) string) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Getenv)
	switch usage := (*UsageError)(nil); {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 2
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
}

// CloudLog returns a logger that writes JSON with the field names that Cloud Logging reads from a container's output.
func CloudLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration {
			a.Value = slog.StringValue(a.Value.Duration().Round(time.Millisecond).String()) // not a count of nanoseconds
		}
		if len(groups) > 0 {
			return a
		}
		switch a.Key {
		case slog.LevelKey:
			a.Key = "severity"
			if a.Value.Any() == slog.LevelWarn {
				a.Value = slog.StringValue("WARNING")
			}
		case slog.MessageKey:
			a.Key = "message"
		}
		return a
	}}))
}

// Create makes the topics and the subscriptions at an emulator, the fleet's if there is one. Against Google it is refused: there they are Terraform's,
// with retention, dead letters and permissions that a process should not be able to set.
func Create(ctx context.Context, cfg Config, client *queue.Client) error {
	if cfg.Emulator == "" {
		return &UsageError{fmt.Errorf("--create is for emulators: set PUBSUB_EMULATOR_HOST, or let Terraform make topics and subscriptions")}
	}
	for _, topic := range []string{cfg.Queue.Topic, cfg.Queue.DeadLetters} {
		if err := client.CreateTopic(ctx, topic); err != nil {
			return err
		}
	}
	for _, sub := range []queue.SubscriptionConfig{
		// Without the dead-letter policy that Terraform gives it: with one, Google's emulator waits longer and longer before
		// it redelivers what a killed worker held.
		{Subscription: cfg.Queue.Subscription, Topic: cfg.Queue.Topic},
		{Subscription: cfg.Queue.DeadLetters + "-kept", Topic: cfg.Queue.DeadLetters}, // so that what falls there stays
	} {
		if err := client.CreateSubscription(ctx, sub); err != nil {
			return err
		}
	}
	if cfg.Metrics.Forward {
		if err := client.CreateTopic(ctx, cfg.Queue.Metrics); err != nil {
			return err
		}
		if err := client.CreateSubscription(ctx, queue.SubscriptionConfig{Subscription: cfg.Queue.Forward, Topic: cfg.Queue.Metrics}); err != nil {
			return err
		}
	}
	if cfg.Fleet == FleetOff {
		return nil
	}
	if err := client.CreateTopic(ctx, cfg.Queue.Facts); err != nil {
		return err
	}
	if err := client.CreateRetainingTopic(ctx, cfg.Queue.Log, cfg.Timing.retention()); err != nil {
		return err
	}
	return client.CreateSubscription(ctx, queue.SubscriptionConfig{Subscription: cfg.Queue.Sequencer, Topic: cfg.Queue.Facts})
}
