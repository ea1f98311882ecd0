package forward

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"tailweir/exporter"
	"tailweir/otlp"
)

// payload is metrics of an app: n gauges named id, each with one point, and a description of size bytes.
func payload(app, id string, n, size int) []byte {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", app)
	sm := rm.ScopeMetrics().AppendEmpty()
	for range n {
		m := sm.Metrics().AppendEmpty()
		m.SetName(id)
		m.SetDescription(strings.Repeat("x", size))
		m.SetEmptyGauge().DataPoints().AppendEmpty().SetIntValue(1)
	}
	b, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		panic(err)
	}
	return b
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func attributes(encoding string) map[string]string {
	a := map[string]string{otlp.AttrType: otlp.Metrics.EventType(), otlp.AttrContentType: otlp.ContentTypeProtobuf}
	if encoding != "" {
		a[otlp.AttrContentEncoding] = encoding
	}
	return a
}

// receipt remembers how it was settled.
type receipt struct {
	t  *testing.T
	mu sync.Mutex
	as string
}

func (r *receipt) set(as string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.as != "" {
		r.t.Errorf("settled twice: %s, then %s", r.as, as)
	}
	r.as = as
}

func (r *receipt) Ack()                     { r.set("ack") }
func (r *receipt) Nack()                    { r.set("nack") }
func (r *receipt) HandBack(d time.Duration) { r.set("back " + d.String()) }

func (r *receipt) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.as
}

// backend is an exporter that answers by export, and remembers what it confirmed.
type backend struct {
	export func(ctx context.Context, b *exporter.Batch) error

	mu    sync.Mutex
	names [][]string // of the metrics of each batch, those confirmed
}

func (b *backend) Name() string { return "fake" }

func (b *backend) Export(ctx context.Context, batch *exporter.Batch) error {
	if b.export != nil {
		if err := b.export(ctx, batch); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.names = append(b.names, namesOf(batch.Payload))
	return nil
}

func (b *backend) batches() [][]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.names)
}

func namesOf(payload []byte) (all []string) {
	md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(payload)
	if err != nil {
		panic(err)
	}
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				all = append(all, m.Name())
			}
		}
	}
	return all
}

// letters is a dead-letter topic.
type letters struct {
	fail func() error

	mu  sync.Mutex
	all []letter
}

type letter struct {
	data  []byte
	attrs map[string]string
}

func (l *letters) Publish(_ context.Context, data []byte, attrs map[string]string) error {
	if l.fail != nil {
		if err := l.fail(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, letter{bytes.Clone(data), maps.Clone(attrs)})
	return nil
}

// rig is a Forwarder that runs until the test's bubble ends.
type rig struct {
	*Forwarder
	t       *testing.T
	backend *backend
	letters *letters
	stop    func()
}

func newRig(t *testing.T, c Config) *rig {
	r := &rig{t: t, backend: &backend{}, letters: &letters{}}
	c.Exporter, c.Dead, c.Log = r.backend, r.letters, slog.New(slog.DiscardHandler)
	r.Forwarder = New(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	r.stop = func() { cancel(); <-done }
	return r
}

func (r *rig) handle(data []byte, attrs map[string]string, publish int) *receipt {
	rec := &receipt{t: r.t}
	r.Handle(r.t.Context(), Delivery{ID: "1", Data: data, Attributes: attrs, Publish: time.Unix(int64(publish), 0), Receipt: rec})
	return rec
}

// check wants the counters to add up, and nothing in flight at the end.
func (r *rig) check(want Stats) {
	r.t.Helper()
	want.MaxBytes = r.Stats().MaxBytes
	if diff := cmp.Diff(want, r.Stats()); diff != "" {
		r.t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func TestForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		defer r.stop()
		plain := r.handle(payload("a", "1", 2, 0), attributes(""), 1)
		packed := r.handle(zipped(payload("b", "2", 3, 0)), attributes("gzip"), 2)
		empty := r.handle(nil, attributes(""), 3)
		synctest.Wait()
		if plain.as != "ack" || packed.as != "ack" || empty.as != "ack" {
			t.Errorf("settled by %q, %q and %q", plain.as, packed.as, empty.as)
		}
		r.check(Stats{Received: Count{3, 5}, Forwarded: Count{3, 5}})
	})
}

// While a lane waits for its backend the messages of its app gather, and go in one request in the order of publishing.
func TestOneAppInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		defer r.stop()
		gate := make(chan struct{})
		r.backend.export = func(context.Context, *exporter.Batch) error { <-gate; return nil }
		for _, i := range []int{1, 5, 3, 2, 4} {
			r.handle(payload("a", fmt.Sprint(i), 1, 0), attributes(""), i)
			synctest.Wait() // the first is under way
		}
		close(gate)
		synctest.Wait()
		if diff := cmp.Diff([][]string{{"1"}, {"2", "3", "4", "5"}}, r.backend.batches()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

func TestRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		defer r.stop()
		gate := make(chan struct{})
		r.backend.export = func(_ context.Context, b *exporter.Batch) error {
			<-gate
			if n := len(b.Payload); n > maxRequest {
				t.Errorf("a request of %d bytes", n)
			}
			return nil
		}
		large := r.handle(zipped(payload("a", "large", 12, 1_000_000)), attributes("gzip"), 0) // 12 MB
		for i := range 5 {
			r.handle(payload("a", fmt.Sprint(i), 1, 1_500_000), attributes(""), i+1)
		}
		close(gate)
		synctest.Wait()
		three := []string{"large", "large", "large"}
		if diff := cmp.Diff([][]string{three, three, three, three, {"0", "1"}, {"2", "3"}, {"4"}}, r.backend.batches()); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
		if large.as != "ack" {
			t.Errorf("the large message is settled by %q", large.as)
		}
		r.check(Stats{Received: Count{6, 17}, Forwarded: Count{6, 17}})
	})
}

func TestRefused(t *testing.T) {
	refused := errors.New("no such metric")
	tests := []struct {
		name   string
		export func(context.Context, *exporter.Batch) error
		want   Stats
		left   []string // confirmed
		reason string
	}{
		{"named", func(_ context.Context, b *exporter.Batch) error {
			if len(b.Parts) < 3 {
				return nil
			}
			return &exporter.PermanentError{Err: refused, Refused: []exporter.Refusal{{Part: 1, Reason: exporter.ReasonRejected, Err: refused}}}
		}, Stats{Received: Count{4, 8}, Forwarded: Count{3, 6}, DeadLettered: Count{1, 2}}, nil, exporter.ReasonRejected},
		{"as one", func(_ context.Context, b *exporter.Batch) error {
			if !slices.Contains(namesOf(b.Payload), "2") {
				return nil
			}
			return &exporter.PermanentError{Err: refused}
		}, Stats{Received: Count{4, 8}, Forwarded: Count{3, 6}, DeadLettered: Count{1, 2}}, []string{"0", "0", "1", "1", "3", "3"}, exporter.ReasonRejected},
		{"some points", func(context.Context, *exporter.Batch) error { return &exporter.PartialError{Rejected: 1, Msg: "old"} },
			Stats{Received: Count{4, 8}, Forwarded: Count{4, 8}, Rejected: 2}, nil, ""},
		{"named, and some points", func(_ context.Context, b *exporter.Batch) error {
			if len(b.Parts) < 3 {
				return nil
			}
			return errors.Join(&exporter.PermanentError{Err: refused, Refused: []exporter.Refusal{{Part: 1, Reason: exporter.ReasonRejected, Err: refused}}},
				&exporter.PartialError{Rejected: 1, Msg: "old"})
		}, Stats{Received: Count{4, 8}, Forwarded: Count{3, 6}, DeadLettered: Count{1, 2}, Rejected: 1}, nil, exporter.ReasonRejected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{})
				defer r.stop()
				gate := make(chan struct{})
				r.backend.export = func(ctx context.Context, b *exporter.Batch) error { <-gate; return tt.export(ctx, b) }
				var all []*receipt
				for i := range 4 { // the first alone, then three together
					all = append(all, r.handle(zipped(payload("a", fmt.Sprint(i), 2, 0)), attributes("gzip"), i))
					synctest.Wait()
				}
				close(gate)
				synctest.Wait()
				for _, rec := range all {
					if rec.as != "ack" {
						t.Errorf("settled by %q", rec.as)
					}
				}
				r.check(tt.want)
				var confirmed []string
				for _, names := range r.backend.batches() {
					confirmed = append(confirmed, names...)
				}
				slices.Sort(confirmed)
				if tt.left != nil && !slices.Equal(confirmed, tt.left) {
					t.Errorf("confirmed %v, want %v", confirmed, tt.left)
				}
				if len(r.letters.all) != int(tt.want.DeadLettered.Messages) {
					t.Fatalf("%d dead letters", len(r.letters.all))
				}
				for _, l := range r.letters.all { // as it came
					if !bytes.Equal(l.data, zipped(payload("a", "2", 2, 0))) || l.attrs[otlp.AttrContentEncoding] != "gzip" ||
						l.attrs[otlp.AttrReason] != tt.reason || l.attrs[otlp.AttrError] != refused.Error() {
						t.Errorf("dead letter with %v", l.attrs)
					}
				}
			})
		})
	}
}

func TestUndecodable(t *testing.T) {
	tests := []struct {
		name  string
		data  []byte
		attrs map[string]string
		error string
	}{
		{"no attributes", nil, nil, `attribute ce-type is ""`},
		{"another signal", nil, map[string]string{otlp.AttrType: otlp.Traces.EventType()}, "org.opentelemetry.otlp.traces.v1"},
		{"malformed", []byte{10, 0xff}, attributes(""), "malformed at byte 0"},
		{"no gzip", []byte("x"), attributes("gzip"), "gzip header"},
		{"a bomb", zipped(make([]byte, 2_000_000)), attributes("gzip"), "inflates beyond 1000000 bytes"},
		{"another encoding", nil, attributes("br"), `content-encoding is "br"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{MaxInflated: 1_000_000})
				defer r.stop()
				rec := r.handle(tt.data, tt.attrs, 0)
				if rec.as != "ack" || len(r.letters.all) != 1 {
					t.Fatalf("settled by %q, %d letters", rec.as, len(r.letters.all))
				}
				l := r.letters.all[0]
				if l.attrs[otlp.AttrReason] != "undecodable" || !strings.Contains(l.attrs[otlp.AttrError], tt.error) || !bytes.Equal(l.data, tt.data) {
					t.Errorf("dead letter with %v, want %q in its error", l.attrs, tt.error)
				}
				r.check(Stats{Received: Count{1, 0}, DeadLettered: Count{1, 0}})
			})
		})
	}
}

// Without the dead-letter topic what is refused goes back, and other messages are not held up by it for longer than its patience.
func TestLettersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{HandBack: time.Minute})
		defer r.stop()
		r.letters.fail = func() error { return errors.New("no such topic") }
		start := time.Now()
		first := r.handle([]byte{1}, attributes(""), 0)
		if took := time.Since(start); first.as != "back 1m0s" || took > 2*letterPatience {
			t.Errorf("settled by %q after %v", first.as, took)
		}
		start = time.Now()
		if second := r.handle([]byte{1}, attributes(""), 0); second.as != "back 1m0s" || time.Since(start) > 0 {
			t.Errorf("settled by %q after %v, want at once while the topic is away", second.as, time.Since(start))
		}
		time.Sleep(letterPatience)
		r.letters.fail = nil
		if third := r.handle([]byte{1}, attributes(""), 0); third.as != "ack" {
			t.Errorf("settled by %q when the topic is back", third.as)
		}
		r.check(Stats{Received: Count{3, 0}, Returned: Count{2, 0}, DeadLettered: Count{1, 0}})
	})
}

// While the backend is away, messages are taken until the bound and no further; at the end all goes back.
func TestBackendAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 10_000_000
		r := newRig(t, Config{MaxBytes: limit})
		r.backend.export = func(ctx context.Context, _ *exporter.Batch) error { <-ctx.Done(); return ctx.Err() }
		var all []*receipt
		blocked := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(blocked)
			for i := range 20 {
				rec := &receipt{t: t}
				all = append(all, rec)
				r.Handle(ctx, Delivery{Data: payload(fmt.Sprint(i), "x", 1, 1_000_000), Attributes: attributes(""), Receipt: rec})
			}
		}()
		synctest.Wait()
		s := r.Stats()
		if s.Bytes > limit || s.Bytes < limit*8/10 || s.InFlight.Messages < 9 || s.InFlight.Messages > 11 { // the last one waits for room
			t.Errorf("%d messages and %d bytes held, the bound is %d", s.InFlight.Messages, s.Bytes, limit)
		}
		quiet, stopWaiting := context.WithTimeout(t.Context(), time.Second)
		defer stopWaiting()
		if r.Quiesce(quiet) {
			t.Error("quiet with messages in flight")
		}
		cancel()
		r.stop()
		<-blocked
		for i, rec := range all {
			if rec.as != "nack" {
				t.Errorf("message %d is settled by %q", i, rec.as)
			}
		}
		if !r.Quiesce(t.Context()) {
			t.Error("not quiet with nothing in flight")
		}
		r.check(Stats{Received: Count{20, 20}, Returned: Count{20, 20}})
	})
}

// An exporter that gives up by itself, which none should, is not asked again at once.
func TestExporterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		defer r.stop()
		r.backend.export = func(context.Context, *exporter.Batch) error { return errors.New("disk full") }
		rec := r.handle(payload("a", "1", 1, 0), attributes(""), 1)
		synctest.Wait()
		if rec.as != "back 30s" {
			t.Errorf("settled by %q", rec.as)
		}
		r.check(Stats{Received: Count{1, 1}, Returned: Count{1, 1}})
	})
}

// FuzzHandle feeds any message: it is acked in any case, as a dead letter or as something that the backend could read.
func FuzzHandle(f *testing.F) {
	f.Add(payload("a", "1", 2, 3), "")
	f.Add(zipped(payload("a", "1", 2, 3)), "gzip")
	f.Add([]byte{10, 0xff}, "")
	f.Fuzz(func(t *testing.T, data []byte, encoding string) {
		fw := New(Config{Exporter: &backend{}, Dead: &letters{}, MaxInflated: 1 << 20, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = fw.Run(ctx) }()
		rec := &receipt{t: t}
		fw.Handle(ctx, Delivery{Data: data, Attributes: attributes(encoding), Receipt: rec})
		fw.Quiesce(ctx)
		cancel()
		<-done
		if rec.String() != "ack" {
			t.Errorf("settled by %q", rec)
		}
	})
}
