package compare

import (
	"context"
	"fmt"
	"testing/synctest"
	"time"

	tailsampling "github.com/open-telemetry/opentelemetry-collector-contrib/processor/tailsamplingprocessor"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.yaml.in/yaml/v3"
)

// answer is what a sampler says of a trace.
type answer struct {
	Keep   bool
	Policy string // that kept or dropped it; "" when none did
}

func (a answer) String() string {
	if a.Keep {
		return "keep by " + a.Policy
	}
	if a.Policy != "" {
		return "drop by " + a.Policy
	}
	return "drop"
}

// answers are a sampler's, by trace.
type answers map[pcommon.TraceID]answer

// loadCollector makes the processor's configuration of a file's tail_sampling block, as the collector does.
func loadCollector(config []byte) (*tailsampling.Config, error) {
	var file map[string]any
	if err := yaml.Unmarshal(config, &file); err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	block, ok := file["tail_sampling"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("read configuration: no tail_sampling")
	}
	cfg := tailsampling.NewFactory().CreateDefaultConfig().(*tailsampling.Config)
	if err := confmap.NewFromStringMap(block).Unmarshal(cfg); err != nil {
		return nil, fmt.Errorf("load configuration: %w", err)
	}
	return cfg, nil
}

// askCollector gives the payloads to the processor and returns its answers. It must run in a bubble of testing/synctest.
//
// A tick of the processor takes its traces from a map, so limiters would see them in another order each time. Hence each
// trace comes alone, in the given order, and gets a tick of its own; none of them decides, since decision_wait is longer
// than all. The shutdown then decides all of them in that order, at one instant. TestOrder shows that it is the same.
func askCollector(config []byte, payloads []ptrace.Traces, order []pcommon.TraceID) (answers, error) {
	c, err := startCollector(config, time.Duration(len(order)+2)*time.Second, componenttest.NewNopHost())
	if err != nil {
		return nil, err
	}
	parts := split(payloads)
	for i, id := range order {
		if i > 0 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		for _, part := range parts[id] {
			if err := c.ConsumeTraces(context.Background(), part); err != nil {
				return nil, err
			}
		}
	}
	return c.stop(len(order))
}

// collector is a processor that runs, and what it has answered.
type collector struct {
	processor.Traces
	got answers
}

func startCollector(config []byte, wait time.Duration, host component.Host) (*collector, error) {
	cfg, err := loadCollector(config)
	if err != nil {
		return nil, err
	}
	c := &collector{got: answers{}}
	cfg.DecisionWait = wait
	cfg.Options = []tailsampling.Option{tailsampling.WithSampledHooks(c.hook(true)), tailsampling.WithNonSampledHooks(c.hook(false))}
	factory := tailsampling.NewFactory()
	set := processor.Settings{
		ID:                component.NewID(factory.Type()),
		TelemetrySettings: componenttest.NewNopTelemetrySettings(),
		BuildInfo:         component.NewDefaultBuildInfo(),
	}
	if c.Traces, err = factory.CreateTraces(context.Background(), set, cfg, consumertest.NewNop()); err != nil {
		return nil, fmt.Errorf("create the processor: %w", err)
	}
	if err := c.Start(context.Background(), host); err != nil {
		return nil, fmt.Errorf("start the processor: %w", err)
	}
	return c, nil
}

// hook takes answers. The processor's feature gate recordpolicy would name policies too, but it writes attributes into the
// scopes before the later policies are asked. A trace above maximum_trace_size_bytes is said again with each later part.
func (c *collector) hook(keep bool) tailsampling.DecisionHook {
	return func(_ context.Context, id pcommon.TraceID, d *tailsampling.TraceData) {
		if a, twice := c.got[id]; twice && (keep || a.Keep) {
			panic("decided twice: " + id.String())
		}
		c.got[id] = answer{Keep: keep, Policy: d.PolicyName}
	}
}

// stop has all traces decided.
func (c *collector) stop(traces int) (answers, error) {
	synctest.Wait()
	if err := c.Shutdown(context.Background()); err != nil {
		return nil, err
	}
	if len(c.got) != traces {
		return nil, fmt.Errorf("the collector answered for %d of %d traces", len(c.got), traces)
	}
	return c.got, nil
}

// firstSeen lists the traces in order of first appearance.
func firstSeen(payloads []ptrace.Traces) []pcommon.TraceID {
	var ids []pcommon.TraceID
	seen := map[pcommon.TraceID]bool{}
	for _, pl := range payloads {
		for s := range spansOf(pl) {
			if id := s.span.TraceID(); !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// split cuts each payload into the parts of each trace: its spans, with the resources and scopes they stand in.
func split(payloads []ptrace.Traces) map[pcommon.TraceID][]ptrace.Traces {
	parts := map[pcommon.TraceID][]ptrace.Traces{}
	for _, pl := range payloads {
		into := map[pcommon.TraceID]*part{}
		for s := range spansOf(pl) {
			id := s.span.TraceID()
			if into[id] == nil {
				into[id] = &part{Traces: ptrace.NewTraces()}
				parts[id] = append(parts[id], into[id].Traces)
			}
			s.span.CopyTo(into[id].at(s).Spans().AppendEmpty())
		}
	}
	return parts
}

// part is one trace's of a payload, and where its last span stood.
type part struct {
	ptrace.Traces
	last  placed
	begun bool
}

// at is the scope of the part that stands for s's.
func (p *part) at(s placed) ptrace.ScopeSpans {
	if !p.begun || p.last.resource != s.resource {
		rs := p.ResourceSpans().AppendEmpty()
		s.resource.Resource().CopyTo(rs.Resource())
		rs.SetSchemaUrl(s.resource.SchemaUrl())
	}
	rs := p.ResourceSpans().At(p.ResourceSpans().Len() - 1)
	if !p.begun || p.last.scope != s.scope {
		ss := rs.ScopeSpans().AppendEmpty()
		s.scope.Scope().CopyTo(ss.Scope())
		ss.SetSchemaUrl(s.scope.SchemaUrl())
	}
	p.last, p.begun = s, true
	return rs.ScopeSpans().At(rs.ScopeSpans().Len() - 1)
}
