package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tailweir/console"
	"tailweir/queue"
	"tailweir/queue/broker"
	"tailweir/sampler"
	"tailweir/service"
)

// localOptions is the flags of tailweir local.
type localOptions struct {
	otlp, otlpGRPC, console string
	policies                string
	endpoint, out, keys     string
	tracesOnly              bool
	origins                 string
	settle, idle, maxAge    time.Duration
	compat                  sampler.Compat
	given                   map[string]bool // the flags that were
}

func localFlags(args []string) (localOptions, error) {
	var o localOptions
	flags := newFlags("local")
	flags.StringVar(&o.otlp, "otlp", ":4318", "`ADDR` for OTLP over HTTP and gRPC")
	flags.StringVar(&o.otlpGRPC, "otlp-grpc", ":4317", "`ADDR` for the same, where SDKs look for gRPC by default")
	flags.StringVar(&o.console, "console", ":8080", "`ADDR` of the console; loopback only")
	flags.StringVar(&o.policies, "policies", "", "`FILE` with the collector's policies: list or tail_sampling: block (default: errors, slower than 1s, 10% of the rest)")
	compatFlag(flags, &o.compat)
	flags.StringVar(&o.endpoint, "otlp-endpoint", "", "`URL` to send kept data to as well: http(s)://host:4318 or grpc(s)://host:4317")
	flags.BoolVar(&o.tracesOnly, "otlp-traces-only", false, "send no log records to --otlp-endpoint, for a backend that takes none")
	flags.StringVar(&o.origins, "cors-origins", "", "`ORIGINS` of web pages that may send from a browser, with commas: https://shop.example.com, http://localhost:*, or * for all")
	flags.StringVar(&o.out, "out", "", "`DIR` to write kept data to as OTLP JSON lines, traces.jsonl and logs.jsonl")
	flags.StringVar(&o.keys, "keys", "", "`FILE` of keys, one of which apps have to show (default: nobody is asked)")
	flags.DurationVar(&o.settle, "settle", 6*time.Second, "`quiet` time after which a trace with its root is decided")
	flags.DurationVar(&o.idle, "idle", 10*time.Second, "`quiet` time after which a trace without a root is decided")
	flags.DurationVar(&o.maxAge, "max-age", 30*time.Second, "`time` after which a trace is decided in any case")
	err := parse(flags, "Broker, ingest, worker and console in this process, with no configuration.", args)
	o.given = map[string]bool{}
	flags.Visit(func(f *flag.Flag) { o.given[strings.ReplaceAll(f.Name, "-", "_")] = true })
	if err == nil && o.compat != "" && o.policies == "" {
		err = &service.UsageError{Err: errors.New("--compat says how the collector's policies are read: want --policies")}
	}
	return o, err
}

// localSlack is far below the 3 s that Pub/Sub needs: here broker and worker share a process.
const localSlack = 500 * time.Millisecond

// config returns what cmd/ingest and cmd/worker would read from their file.
func (o localOptions) config() (service.Config, error) {
	cfg := service.Default()
	cfg.Project, cfg.Fleet = "local", service.FleetOff
	cfg.Window.Settle, cfg.Window.Idle, cfg.Window.MaxAge = o.settle, o.idle, o.maxAge
	cfg.Window.Slack, cfg.Window.StartDelay = localSlack, 0
	cfg.Ingest.Listen = []string{o.otlp, o.otlpGRPC}
	cfg.Console.Listen = o.console
	if o.origins != "" {
		cfg.Ingest.CORS.AllowedOrigins = strings.Split(o.origins, ",")
		if err := cfg.Ingest.CORS.Validate(); err != nil {
			return cfg, fmt.Errorf("--cors-origins: %w", err)
		}
	}
	cfg.Ingest.Auth.Keys, cfg.Ingest.Auth.None = o.keys, o.keys == ""
	if o.endpoint != "" {
		e := service.ExporterConfig{Type: "otlp", Endpoint: o.endpoint}
		if o.tracesOnly {
			e.Signals = []service.Signal{"traces"}
		}
		cfg.Exporters = append(cfg.Exporters, e)
	}
	if o.out != "" {
		cfg.Exporters = append(cfg.Exporters, service.ExporterConfig{Type: "file", Dir: o.out})
	}
	window := cfg.WindowConfig()
	if faults := window.Validate(); len(faults) > 0 {
		return cfg, fmt.Errorf("--%s", strings.ReplaceAll(strings.Join(faults, "; --"), "max_age", "max-age"))
	}
	if o.policies != "" {
		return cfg, o.readPolicies(&cfg)
	}
	return cfg, nil
}

func (o localOptions) readPolicies(cfg *service.Config) error {
	src, err := os.ReadFile(o.policies)
	if err != nil {
		return fmt.Errorf("--policies: %w", err)
	}
	if cfg.Compiled, err = sampler.ParseAs(o.compat, o.policies, src); err != nil {
		return err
	}
	given := func(key string) bool { return o.given[key] }
	cfg.Warnings = append(cfg.Compiled.Warnings(), cfg.Window.Adopt(cfg.Compiled.Options(), "window.", given)...)
	if faults := cfg.WindowConfig().Validate(); len(faults) > 0 {
		return fmt.Errorf("%s: window.%s", o.policies, strings.Join(faults, "; window."))
	}
	return nil
}

// runLocal wires the whole product in one process:
//
//	OTLP ──▶ ingest ──▶ broker ──▶ worker ──▶ console, --out, --otlp-endpoint
//	         (both through the Pub/Sub client, over loopback)
func runLocal(ctx context.Context, args []string) error {
	o, err := localFlags(args)
	if err != nil {
		return err
	}
	cfg, err := o.config()
	if err != nil {
		return &service.UsageError{Err: err}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	doors, err := openDoors(cfg)
	if err != nil {
		return &service.UsageError{Err: err}
	}
	cfg.Emulator = doors.broker.Addr().String()
	return serveLocal(ctx, cfg, doors, log)
}

// doors are the listeners, all opened before anything starts, so that a taken port is one clear line.
type doors struct {
	broker  net.Listener
	otlp    []net.Listener
	console []net.Listener
}

func openDoors(cfg service.Config) (d doors, err error) {
	if d.otlp, err = service.ListenAll(cfg.Ingest.Listen...); err != nil {
		return d, err
	}
	if d.console, err = console.Listen(cfg.Console.Listen, false); err != nil {
		return d, err
	}
	d.broker, err = net.Listen("tcp", "127.0.0.1:0")
	return d, err
}

func serveLocal(ctx context.Context, cfg service.Config, d doors, log *slog.Logger) error {
	// The parts end one after the other, in the order of the data; each context outlives the one before.
	last, endBroker := context.WithCancel(context.WithoutCancel(ctx))
	defer endBroker()
	g, last := errgroup.WithContext(last)
	pubsub := broker.New(broker.Config{})
	g.Go(func() error { return pubsub.Serve(last, d.broker) })

	client, err := queue.Open(last, queue.Config{Project: cfg.Project, Endpoint: cfg.Emulator})
	if err != nil {
		return err
	}
	defer client.Close()
	if err := service.Create(last, cfg, client); err != nil {
		return err
	}
	in, err := service.NewIngest(cfg, client, log)
	if err != nil {
		return &service.UsageError{Err: err}
	}
	w, err := service.NewWorker(cfg, service.WorkerOptions{Client: client, Log: log, Console: d.console, Endpoints: environment(cfg, d), Local: true})
	if err != nil {
		return &service.UsageError{Err: err}
	}
	greet(os.Stdout, cfg, d)

	intake, endWorker := context.WithCancel(last)
	defer endWorker()
	var summary service.Summary
	g.Go(func() error {
		s, err := w.Run(intake)
		summary = s
		endBroker()
		return err
	})
	g.Go(func() error {
		defer endWorker()
		stop, cancel := context.WithCancel(ctx)
		defer cancel()
		context.AfterFunc(last, cancel)
		err := in.Run(stop, nil, d.otlp...)
		awaitDelivery(last, pubsub, w)
		return err
	})
	err = g.Wait()
	report(os.Stdout, summary)
	return err
}

// deliveryPatience bounds the wait for the last messages; what was handed back under pressure stays away for longer.
const deliveryPatience = 3 * time.Second

// awaitDelivery waits until the worker holds all that the broker has: the broker's messages end with this process, and
// their senders were told that they are safe.
func awaitDelivery(ctx context.Context, pubsub *broker.Server, w *service.Worker) {
	ctx, cancel := context.WithTimeout(ctx, deliveryPatience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		unacked := 0
		for _, s := range pubsub.Stats().Subscriptions {
			if strings.HasSuffix(s.Name, "/"+service.Default().Queue.Subscription) {
				unacked = s.Unacked
			}
		}
		if unacked <= w.Held() {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// environment is what an app needs to send here.
func environment(cfg service.Config, d doors) []string {
	lines := []string{
		"export OTEL_EXPORTER_OTLP_ENDPOINT=http://" + dialable(d.otlp[0]),
		"export OTEL_TRACES_SAMPLER=always_on",
		"export OTEL_BSP_SCHEDULE_DELAY=1000",
	}
	if cfg.Ingest.Auth.Keys != "" {
		lines = append(lines, "export OTEL_EXPORTER_OTLP_HEADERS=x-api-key=KEY")
	}
	return lines
}

// dialable is an address that a program on this machine can connect to.
func dialable(l net.Listener) string {
	a := l.Addr().(*net.TCPAddr)
	if a.IP.IsUnspecified() || a.IP.IsLoopback() {
		return fmt.Sprintf("localhost:%d", a.Port)
	}
	return a.String()
}

func greet(w io.Writer, cfg service.Config, d doors) {
	fmt.Fprintf(w, "Tailweir is up.\n\n")
	fmt.Fprintf(w, "  console    http://%s\n", dialable(d.console[0]))
	fmt.Fprintf(w, "  OTLP       http://%s and http://%s, HTTP and gRPC on both\n", dialable(d.otlp[0]), dialable(d.otlp[1]))
	fmt.Fprintf(w, "  Pub/Sub    PUBSUB_EMULATOR_HOST=%s, project %s, topic %s\n", d.broker.Addr(), cfg.Project, cfg.Queue.Topic)
	fmt.Fprintf(w, "  policies   %s\n", strings.Join(cfg.Compiled.Names(), ", "))
	fmt.Fprintf(w, "  decided    %s after a trace with its root is quiet, %s without, %s at most\n", cfg.Window.Settle, cfg.Window.Idle, cfg.Window.MaxAge)
	for _, e := range cfg.Exporters {
		fmt.Fprintf(w, "  kept to    %s\n", e)
	}
	fmt.Fprintf(w, "\nIn an app's environment:\n\n")
	for _, line := range environment(cfg, d) {
		fmt.Fprintf(w, "  %s\n", line)
	}
	fmt.Fprintf(w, `
always_on, because behind Cloud Run most requests arrive marked unsampled and the default sampler would drop them before
they get here; the short delay is for local play. Ctrl-C decides what is waiting and ends.

`)
}

func report(w io.Writer, s service.Summary) {
	fmt.Fprintf(w, "\nDone. Received %d spans of %d traces and %d log records; kept %d traces (%d spans, %d log records), dropped %d traces (%d spans).\n",
		s.Received.Spans, s.Received.Traces, s.Received.Logs, s.Kept.Traces, s.Kept.Spans, s.Kept.Logs, s.Dropped.Traces, s.Dropped.Spans)
	if s.Returned.Spans+s.Returned.Logs > 0 {
		fmt.Fprintf(w, "Given back to the queue, for want of memory or of time to export: %d spans and %d log records; what had not come again by now ended with the queue.\n",
			s.Returned.Spans, s.Returned.Logs)
	}
}
