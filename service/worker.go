package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"tailweir/console"
	"tailweir/exporter"
	"tailweir/forward"
	"tailweir/otlp"
	"tailweir/pipeline"
	"tailweir/queue"
)

// WorkerOptions is what a worker needs beside its configuration.
type WorkerOptions struct {
	Client    *queue.Client
	Log       *slog.Logger
	Console   []net.Listener // closed by Run; empty: no console
	Admin     net.Listener   // closed by Run; nil: no admin address
	Endpoints []string       // shown on the console while nothing was received
	// Local says that the queue dies with the process: at the end everything in the window is decided instead of given
	// back, and exporters may be missing, since people look at the console.
	Local bool
}

// Worker is the process that holds, decides and exports. Use NewWorker, then Run once.
type Worker struct {
	cfg  Config
	opts WorkerOptions

	payloads  *queue.Publisher // for ticks
	dead      *queue.Publisher
	facts     *queue.Publisher // nil without a fleet
	holder    *holder
	sequencer sequencer
	pipeline  *pipeline.Pipeline
	forward   *forwarding // nil unless metrics are forwarded
	exporters []exporter.Exporter
	lagging   []*exporter.Optional // those of exporters that are not required
	kept      *exporter.Memory
	console   *console.Console
	admin     http.Handler
	started   time.Time
	failed    chan error // the first failure of a part that has no error of its own to return
}

// bytesPerMessage is the least that a held message is charged (pipeline's bookkeeping for an empty payload), so that
// hold.max_bytes divided by it is the most messages that a hold can have.
const bytesPerMessage = 600

// NewWorker joins the parts. It opens the exporters' files and reads their certificates, but starts nothing.
func NewWorker(cfg Config, opts WorkerOptions) (*Worker, error) {
	if len(cfg.Exporters) == 0 && !opts.Local {
		if cfg.Emulator != "" {
			return nil, errors.New("exporters: none is configured, and what is kept would be lost: name one in the file that TAILWEIR_CONFIG names")
		}
		cfg.Exporters = cloudExporters(cfg.Metrics.Forward)
	}
	kept, err := exporter.NewMemory(exporter.MemoryConfig{MaxBytes: int(cfg.Console.MaxBytes)})
	if err != nil {
		return nil, err
	}
	w := &Worker{cfg: cfg, opts: opts, started: time.Now(), kept: kept, failed: make(chan error, 1)}
	if err := w.openExporters(); err != nil {
		return nil, errors.Join(err, w.closeExporters())
	}
	w.dead = opts.Client.Publisher(cfg.Queue.DeadLetters, queue.PublisherConfig{})
	if err := w.openForwarding(); err != nil {
		return nil, errors.Join(err, w.closeExporters())
	}
	if len(opts.Console) > 0 {
		w.exporters = append(w.exporters, w.kept)
	}
	metrics, err := w.metrics()
	if err != nil {
		return nil, errors.Join(err, w.closeExporters())
	}
	w.payloads = opts.Client.Publisher(cfg.Queue.Topic, queue.PublisherConfig{})
	w.sequencer = w.newSequencer()
	rules, keep := cfg.Logs.rules()
	w.pipeline = pipeline.New(pipeline.Config{
		Policies: cfg.Compiled, Exporter: exporter.All(w.exporters...), Sequencer: w.sequencer, Dead: w.dead, Heard: w.sequencer.Heard, Log: opts.Log,
		LogsKeep: keep, LogRules: rules, DropOrphans: cfg.Logs.Orphans == "drop", MaxBytes: int64(cfg.Hold.MaxBytes), HandBack: cfg.Hold.HandBack,
		History: cfg.Window.History, MaxInflated: int(cfg.Ingest.MaxInflated),
	})
	w.holder = &holder{Pipeline: w.pipeline, open: w.newSubscriber, fail: w.fail}
	w.console = console.New(view{w}, console.Config{
		Endpoints: opts.Endpoints, AllowRemote: cfg.Console.AllowRemote, AllowedHosts: cfg.Console.AllowedHosts, Metrics: metrics,
	})
	w.admin = adminHandler(metrics, w.ready)
	return w, nil
}

// newSubscriber returns the subscriber of the next session of pulling. Only the first session's failure is a fault of the
// configuration, for a person to mend: later ones insist.
func (w *Worker) newSubscriber(insist bool) *queue.Subscriber {
	hold := w.cfg.Hold
	return w.opts.Client.Subscriber(w.cfg.Queue.Subscription, queue.SubscriberConfig{
		Lease: hold.Lease, Insist: insist,
		// A request costs more than the acks in it. What was exported in that time comes again when the process dies.
		Linger: 500 * time.Millisecond,
		// The credit is out of the hold's reach: the hold hands messages back at 80 % of its budget and never waits for
		// messages that it keeps from itself.
		MaxMessages: int(hold.MaxBytes)/bytesPerMessage + 1000, MaxBytes: 2 * int(hold.MaxBytes),
		Logger: w.opts.Log,
		// What was on its way in a stream that broke comes again only when its lease has ended.
		Broken: w.sequencer.Hold,
	})
}

// fail ends the worker with err, unless it ends already.
func (w *Worker) fail(err error) {
	select {
	case w.failed <- err:
	default:
	}
}

// tick publishes an empty payload, so that event time goes on when no app sends.
func (w *Worker) tick(ctx context.Context) error {
	err := w.payloads.Publish(ctx, nil, map[string]string{
		otlp.AttrType: otlp.Traces.EventType(), otlp.AttrContentType: otlp.ContentTypeProtobuf, otlp.AttrTick: "1",
	})
	if err != nil && ctx.Err() == nil {
		w.opts.Log.Warn("publishing a tick: nothing is decided while no app sends", "topic", w.cfg.Queue.Topic, "error", err)
	}
	return err
}

// Summary is what a worker did, for its last line.
type Summary struct {
	pipeline.Totals
	Metrics  forward.Stats
	Messages int  // given back undecided
	Undone   bool // the grace ended before everything decided was exported
}

// Run works until ctx is done, then stops in the order of the data: pulling ends, what was decided is exported within the
// grace, the fleet is told, the undecided are given back, acks are flushed. It returns an error only when a part failed.
func (w *Worker) Run(ctx context.Context) (Summary, error) {
	defer w.closePublishers()
	leases, endLeases := context.WithCancel(context.WithoutCancel(ctx))
	defer endLeases()
	work, endWork := context.WithCancel(leases)
	defer endWork()

	parts, partsCtx := errgroup.WithContext(work)
	parts.Go(func() error { return w.pipeline.Run(partsCtx) })
	for _, o := range w.lagging {
		parts.Go(func() error { return o.Run(partsCtx) })
	}
	if len(w.opts.Console) > 0 {
		parts.Go(func() error { return w.console.Serve(partsCtx, w.opts.Console...) })
	}
	if w.opts.Admin != nil {
		parts.Go(func() error { return serveAdmin(partsCtx, w.opts.Admin, w.admin) })
	}
	if !w.opts.Local { // whose log is a person's terminal
		parts.Go(func() error {
			tick := time.NewTicker(statusEvery)
			defer tick.Stop()
			w.sayStatus(partsCtx, tick.C)
			return nil
		})
	}
	parts.Go(func() error {
		select {
		case err := <-w.failed:
			return err
		case <-partsCtx.Done():
			return nil
		}
	})
	if w.forward != nil {
		parts.Go(func() error { return w.forward.run(partsCtx) })
	}
	w.holder.leases = leases
	w.holder.handle = func(m *queue.Message) { w.pipeline.Handle(partsCtx, delivery(m)) }
	sequenced := make(chan struct{}) // closed when the sequencer has ended
	go func() {
		defer close(sequenced)
		if err := w.sequencer.Run(partsCtx, w.holder); err != nil {
			w.fail(err)
		}
	}()

	select {
	case <-ctx.Done():
	case <-partsCtx.Done():
	}
	w.holder.stop()
	w.forward.stop()
	s := Summary{Undone: !w.finish(partsCtx)}
	endWork()
	err := parts.Wait()
	s.Messages = w.pipeline.Release()
	endLeases()
	err = errors.Join(err, w.holder.close(), w.closeExporters())
	<-sequenced // it may be ending its subscription on the log, for which nobody's payloads wait
	s.Totals, s.Metrics = w.pipeline.State().Totals, w.forward.stats()
	return s, err
}

// finish exports what is decided and takes leave of the fleet, within the grace. Decisions that come now are left to those
// who get the payloads next; with Local there is nobody, and everything is decided.
func (w *Worker) finish(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Shutdown)
	defer cancel()
	if !w.opts.Local {
		w.holder.deafen()
	}
	leaving := w.leaving()
	grace, cancel := context.WithTimeout(ctx, w.cfg.Shutdown-leaving)
	defer cancel()
	done := w.pipeline.Quiesce(grace)
	goodbye, cancel := context.WithTimeout(ctx, cmp.Or(leaving, w.cfg.Shutdown))
	defer cancel()
	w.sequencer.Leave(goodbye)
	done = done && w.pipeline.Quiesce(ctx)
	done = w.forward.quiesce(ctx) && done
	for _, o := range w.lagging {
		o.Flush(ctx)
	}
	return done
}

// leaving is the part of the grace that saying goodbye may take: facts, an entry of the log, and their answers.
func (w *Worker) leaving() time.Duration {
	if w.cfg.Fleet == FleetOff {
		return 0
	}
	return min(2*time.Second, w.cfg.Shutdown/4)
}

func delivery(m *queue.Message) pipeline.Delivery {
	return pipeline.Delivery{ID: m.ID, Data: m.Data, Attributes: m.Attributes, Publish: m.PublishTime, Attempt: m.DeliveryAttempt, Receipt: m}
}

func (w *Worker) closePublishers() {
	w.payloads.Close()
	w.dead.Close()
	if w.facts != nil {
		w.facts.Close()
	}
}

// openExporters opens those of the configuration, each for its signals.
func (w *Worker) openExporters() error {
	taken := map[Signal]bool{}
	for i, c := range w.cfg.Exporters {
		log := w.opts.Log.With("exporter", c.String())
		x, err := c.open(w.cfg.Project, log)
		if err != nil {
			return fmt.Errorf("exporters[%d]: %w", i, err)
		}
		if !c.required() {
			o := exporter.NewOptional(x, int(c.MaxPending), log)
			w.lagging, x = append(w.lagging, o), o
		}
		var signals []otlp.Signal
		for _, s := range c.signals() {
			taken[s] = true
			signals = append(signals, s.otlp())
		}
		w.exporters = append(w.exporters, exporter.Only(x, signals...))
		log.Info("what is kept goes to", "signals", c.signals(), "required", c.required())
	}
	for _, s := range []Signal{"traces", "logs"} {
		if !taken[s] && !w.opts.Local {
			w.opts.Log.Warn("no exporter takes this signal: what is kept of it goes nowhere", "signal", s)
		}
	}
	return nil
}

func (w *Worker) closeExporters() error {
	var errs []error
	for _, x := range w.exporters {
		if c, ok := x.(interface{ Close() error }); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// Name returns the worker's name in its fleet, new for each start: what the log and the other workers call it.
func (w *Worker) Name() string { return w.sequencer.State().Name }

// Held returns how many messages the worker holds un-acked, those of metrics too.
func (w *Worker) Held() int {
	return w.pipeline.State().Messages + int(w.forward.stats().InFlight.Messages)
}
