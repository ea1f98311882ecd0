package compare

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/offline"
	"tailweir/otlp"
	"tailweir/sampler"
)

// mode is how our sampler is asked.
type mode string

const (
	mended mode = ""
	strict mode = "compat: strict\n"
)

// askOurs gives the payloads to our sampler and has all traces decided in one tick, in the given order, that of their first
// appearance: under strict by what the command decide does, else as a worker does, since decide's ticks go by the traces' ends.
func askOurs(m mode, config []byte, payloads []ptrace.Traces, order []pcommon.TraceID) (answers, error) {
	p, err := sampler.Parse("config", append([]byte(m), config...))
	if err != nil {
		return nil, err
	}
	if m == strict {
		return askOffline(p, payloads)
	}
	facts, err := fold(p, payloads)
	if err != nil {
		return nil, err
	}
	batch := make([]sampler.Candidate, 0, len(order))
	for _, id := range order {
		batch = append(batch, sampler.Candidate{Trace: otlp.TraceID(id), Facts: facts[id]})
	}
	got := answers{}
	for i, d := range p.NewDecider().Decide(nil, batch, 1_000_000_000_000) {
		got[order[i]] = ours(d)
	}
	return got, nil
}

// askOffline gives the payloads as a file, in the collector's form of protobuf.
func askOffline(p *sampler.Policies, payloads []ptrace.Traces) (answers, error) {
	var file bytes.Buffer
	for _, pl := range payloads {
		raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(pl)
		if err != nil {
			return nil, err
		}
		file.Write(binary.BigEndian.AppendUint32(nil, uint32(len(raw))))
		file.Write(raw)
	}
	traces := offline.New(p)
	if err := traces.Read("traces", &file); err != nil {
		return nil, err
	}
	got := answers{}
	for _, v := range traces.Decide(false) {
		got[pcommon.TraceID(v.Trace)] = ours(v.Decision)
	}
	return got, nil
}

// ours is a decision in the collector's words: it names nobody when a trace is above maximum_trace_size_bytes.
func ours(d sampler.Decision) answer {
	if d.Policy == "maximum_trace_size_bytes" {
		d.Policy = ""
	}
	return answer{Keep: d.Keep, Policy: d.Policy}
}

func fold(p *sampler.Policies, payloads []ptrace.Traces) (map[pcommon.TraceID]*sampler.Facts, error) {
	facts := map[pcommon.TraceID]*sampler.Facts{}
	o := p.NewObserver()
	for _, pl := range payloads {
		raw, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(pl)
		if err != nil {
			return nil, err
		}
		var scanned otlp.Payload
		if err := scanned.Scan(otlp.Traces, raw); err != nil {
			return nil, fmt.Errorf("scan: %w", err)
		}
		o.Reset(&scanned)
		for _, g := range scanned.Groups() {
			f := o.Fold(g)
			id := pcommon.TraceID(g.Trace)
			if facts[id] == nil {
				facts[id] = new(sampler.Facts)
			}
			facts[id].Merge(&f)
		}
	}
	return facts, nil
}
