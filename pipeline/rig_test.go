package pipeline

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/buffer"
	"tailweir/exporter"
	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

// span is one span of a test payload; trace and id 0 are invalid ids.
type span struct {
	trace, id byte
	root, bad bool
}

func traces(spans ...span) []byte {
	td := ptrace.NewTraces()
	ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	for _, s := range spans {
		x := ss.Spans().AppendEmpty()
		x.SetTraceID(pcommon.TraceID{15: s.trace})
		x.SetSpanID(pcommon.SpanID{7: s.id})
		x.SetName(fmt.Sprintf("span %d", s.id))
		if !s.root {
			x.SetParentSpanID(pcommon.SpanID{7: 200})
		}
		if s.bad {
			x.Status().SetCode(ptrace.StatusCodeError)
		}
	}
	b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		panic(err)
	}
	return b
}

func logs(traces ...byte) []byte {
	ld := plog.NewLogs()
	sl := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
	for i, trace := range traces {
		r := sl.LogRecords().AppendEmpty()
		r.SetTraceID(pcommon.TraceID{15: trace})
		r.Body().SetStr(fmt.Sprintf("record %d", i))
	}
	b, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	if err != nil {
		panic(err)
	}
	return b
}

// receipt records how a delivery was settled, and fails when that happens twice.
type receipt struct {
	t    *testing.T
	mu   sync.Mutex
	what string
}

func (r *receipt) settle(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.what != "" {
		r.t.Errorf("settled twice: %s, then %s", r.what, what)
	}
	r.what = what
}
func (r *receipt) Ack()                     { r.settle("ack") }
func (r *receipt) Nack()                    { r.settle("nack") }
func (r *receipt) HandBack(d time.Duration) { r.settle("hand back " + d.String()) }
func (r *receipt) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.what
}

// backend is an exporter that remembers what it confirmed, span by span and record by record.
type backend struct {
	mu     sync.Mutex
	answer func(b *exporter.Batch) error // nil: confirm
	spans  map[string]int                // "trace/span" → times
	logs   map[string]int                // "body kept" → times
	parts  []exporter.Part
}

func (*backend) Name() string { return "test backend" }

func (x *backend) Export(ctx context.Context, b *exporter.Batch) error {
	x.mu.Lock()
	answer := x.answer
	x.mu.Unlock()
	if answer != nil {
		if err := answer(b); err != nil {
			return err
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.parts = append(x.parts, b.Parts...)
	if b.Signal == otlp.Logs {
		return x.takeLogs(b.Payload)
	}
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(b.Payload)
	if err != nil {
		return err
	}
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				x.spans[fmt.Sprintf("%d/%d", s.TraceID()[15], s.SpanID()[7])]++
			}
		}
	}
	return nil
}

func (x *backend) takeLogs(payload []byte) error {
	ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(payload)
	if err != nil {
		return err
	}
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				kept, has := r.Attributes().Get(otlp.AttrKept)
				id := r.TraceID()
				x.logs[fmt.Sprintf("%d: %s %v", id[15], r.Body().Str(), has && kept.Bool())]++
			}
		}
	}
	return nil
}

// shelf is a dead-letter topic.
type shelf struct {
	mu      sync.Mutex
	reasons []string
}

func (s *shelf) Publish(_ context.Context, _ []byte, attrs map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reasons = append(s.reasons, attrs[AttrReason])
	return nil
}

// rig is a pipeline and its sequencer in a synctest bubble.
type rig struct {
	t       *testing.T
	ctx     context.Context
	end     context.CancelFunc
	p       *Pipeline
	solo    *fleet.Solo
	backend *backend
	dead    *shelf
	done    chan struct{}
}

func newRig(t *testing.T, change func(*Config)) *rig { return newRigWith(t, 1000, change) }

// newRigWith is newRig with a sequencer that remembers so many decisions.
func newRigWith(t *testing.T, history int, change func(*Config)) *rig {
	policies, err := sampler.Parse("policies", []byte("policies:\n- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, backend: &backend{spans: map[string]int{}, logs: map[string]int{}}, dead: &shelf{}, done: make(chan struct{})}
	r.ctx, r.end = context.WithCancel(t.Context())
	var p *Pipeline
	r.solo = fleet.NewSolo(fleet.SoloConfig{
		Policies: policies, Slack: 500 * time.Millisecond, History: history,
		Window: buffer.Config{Settle: 2 * time.Second, Idle: 3 * time.Second, MaxAge: 10 * time.Second},
		Tick: func(ctx context.Context) error {
			p.Handle(ctx, Delivery{Attributes: attrs(otlp.Traces), Publish: time.Now(), Receipt: &receipt{t: t}})
			return nil
		},
	})
	cfg := Config{Policies: policies, Exporter: r.backend, Sequencer: r.solo, Dead: r.dead, History: 1000, Settled: 1000, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if change != nil {
		change(&cfg)
	}
	p = New(cfg)
	r.p = p
	go func() {
		defer close(r.done)
		var wg sync.WaitGroup
		wg.Go(func() { _ = p.Run(r.ctx) })
		wg.Go(func() { _ = r.solo.Run(r.ctx, p.Apply) })
		wg.Wait()
	}()
	return r
}

// stop ends the pipeline as a worker does and returns how many messages were given back.
func (r *rig) stop() int {
	r.end()
	<-r.done
	return r.p.Release()
}

func attrs(s otlp.Signal) map[string]string {
	return map[string]string{otlp.AttrType: s.EventType(), otlp.AttrContentType: otlp.ContentTypeProtobuf}
}

func (r *rig) deliver(signal otlp.Signal, data []byte) *receipt {
	return r.deliverAs(Delivery{Data: data, Attributes: attrs(signal), Publish: time.Now()})
}

func (r *rig) deliverAs(d Delivery) *receipt {
	rec := &receipt{t: r.t}
	d.Receipt = rec
	r.p.Handle(r.ctx, d)
	synctest.Wait()
	r.check()
	return rec
}

// check fails the test unless the totals add up.
func (r *rig) check() {
	r.t.Helper()
	s := r.p.State()
	sum, byPolicy := Count{}, Tally{}
	for _, c := range []Count{s.Kept, s.Dropped, s.DeadLettered, s.Returned, s.Duplicate, s.InFlight} {
		sum.add(c)
	}
	for _, t := range s.ByPolicy {
		byPolicy.Kept.add(t.Kept)
		byPolicy.Dropped.add(t.Dropped)
	}
	if diff := cmp.Diff(s.Received, sum); diff != "" {
		r.t.Errorf("totals do not add up (-received +sum):\n%s%+v", diff, s.Totals)
	}
	if diff := cmp.Diff(Tally{s.Kept, s.Dropped}, byPolicy); diff != "" {
		r.t.Errorf("totals by policy do not add up (-all +by policy):\n%s", diff)
	}
}

// sleep lets virtual time pass and everybody finish what that made them do.
func (r *rig) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) want(what string, got, want any) {
	r.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
