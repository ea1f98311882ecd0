package otlp

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// TestMutants holds Scan and the views to pdata on 20,000 damaged payloads, half of them traces. For more,
// OTLP_MUTANTS=200000 go test ./otlp -run TestMutants; OTLP_MUTANTS_SEED=7 makes others.
func TestMutants(t *testing.T) {
	rnd := newMutants(t)
	each := environ(t, "OTLP_MUTANTS", 20_000) / 2
	traces := [][]byte{smallTraces(), keyFirst(Traces, smallTraces()), tinyTraces()}
	logs := [][]byte{smallLogs(), keyFirst(Logs, smallLogs())}
	var p Payload
	valid := [2]int{}
	for range each {
		b := mutant(rnd, traces)
		if p.Scan(Traces, b) == nil {
			valid[0]++
		}
		check(t, Traces, b, checkTraces)
		b = mutant(rnd, logs)
		if p.Scan(Logs, b) == nil {
			valid[1]++
		}
		check(t, Logs, b, checkLogs)
	}
	t.Logf("of %d each, %d traces and %d logs are valid", each, valid[0], valid[1])
	for _, n := range valid {
		if n < each/10 || n > each*9/10 {
			t.Errorf("%d of %d mutants are valid: one of the two verdicts is hardly tested", n, each)
		}
	}
}

func newMutants(t *testing.T) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(environ(t, "OTLP_MUTANTS_SEED", 5)), 6))
}

// check prints the payload that a check failed on.
func check(t *testing.T, signal Signal, b []byte, f func(*testing.T, []byte)) {
	defer func() {
		if r := recover(); r != nil || t.Failed() {
			t.Errorf("%s payload %x: %v", signal, b, r)
		}
	}()
	f(t, b)
}

func environ(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		t.Fatalf("%s=%q is not a positive number", name, s)
	}
	return n
}

// mutant damages one to three places of one of the seeds.
func mutant(rnd *rand.Rand, seeds [][]byte) []byte {
	b := slices.Clone(oneOf(rnd, seeds))
	for range 1 + rnd.IntN(3) {
		if len(b) == 0 {
			break
		}
		b = damage(rnd, b, seeds)
	}
	return b
}

func damage(rnd *rand.Rand, b []byte, seeds [][]byte) []byte {
	i := rnd.IntN(len(b))
	switch rnd.IntN(10) {
	case 0:
		return b[:i+1]
	case 1:
		from := oneOf(rnd, seeds)
		return slices.Concat(b[:i], from[rnd.IntN(len(from)):])
	case 2:
		b[i] ^= 1 << rnd.IntN(8)
	case 3:
		b[i] = byte(rnd.IntN(256))
	case 4:
		b[i] = byte(rnd.IntN(17)<<3 | rnd.IntN(6))
	case 5:
		return slices.Concat(b, oneOf(rnd, seeds))
	default:
		return damageField(rnd, b)
	}
	return b
}

// damageField rewrites a varint of one field, anywhere in the nesting, and the lengths around it or not.
func damageField(rnd *rand.Rand, b []byte) []byte {
	path := randomPath(rnd, b)
	if len(path) == 0 {
		return b
	}
	at := path[len(path)-1]
	tag, next := varint(b, at)
	v, end := varint(b, next)
	if next < 0 || end < 0 {
		return b
	}
	var field []byte
	switch rnd.IntN(5) {
	case 0: // the same tag in more bytes
		field = append(padded(rnd, tag), b[next:end]...)
	case 1: // the same length or number in more bytes
		field = append(slices.Clone(b[at:next]), padded(rnd, v)...)
	case 2: // a number that is off by a little, or huge
		v += []uint64{1, ^uint64(0), 1 << 31, 1 << 32, 1 << 63, 128}[rnd.IntN(6)]
		field = binary.AppendUvarint(slices.Clone(b[at:next]), v)
	case 3: // an unknown or other field number, also beyond 32 bits
		tag = tag&7 | []uint64{0, 17, 100, 1000, 1 << 28, 1<<32 | 1, uint64(rnd.IntN(17))}[rnd.IntN(7)]<<3
		field = append(binary.AppendUvarint(nil, tag), b[next:end]...)
	case 4: // the field twice
		_, stop := chunk(b, next)
		if tag&7 != wireLen || stop < 0 {
			stop = end
		}
		field, end = slices.Concat(b[at:stop], b[at:stop]), stop
	}
	return replace(rnd, b, path, at, end, field)
}

// padded encodes v in up to 11 bytes, one more than a varint may have.
func padded(rnd *rand.Rand, v uint64) []byte {
	enc := binary.AppendUvarint(nil, v)
	for range rnd.IntN(12 - min(len(enc), 11)) {
		enc[len(enc)-1] |= 0x80
		enc = append(enc, 0)
	}
	return enc
}

// randomPath returns where the tags of a field and of the messages around it stand, outermost first.
func randomPath(rnd *rand.Rand, b []byte) (path []int) {
	pos, end := 0, len(b)
	for {
		var at []int
		for p := pos; p < end; {
			tag, next := readTag(b[:end], p)
			if next < 0 {
				break
			}
			at = append(at, p)
			if p = skip(b[:end], next, tag&7); p < 0 {
				break
			}
		}
		if len(at) == 0 {
			return path
		}
		path = append(path, at[rnd.IntN(len(at))])
		tag, next := readTag(b, path[len(path)-1])
		if tag&7 != wireLen || len(path) > 3 && rnd.IntN(3) == 0 {
			return path
		}
		if pos, end = chunk(b[:end], next); end <= pos {
			return path
		}
	}
}

// replace puts field in the place of b[at:end] and, three times of four, corrects the lengths around it.
func replace(rnd *rand.Rand, b []byte, path []int, at, end int, field []byte) []byte {
	fix := rnd.IntN(4) > 0
	for i := len(path) - 1; ; i-- {
		if i == 0 || !fix {
			return slices.Concat(b[:at], field, b[end:])
		}
		outer := path[i-1]
		_, next := varint(b, outer)
		start, stop := chunk(b, next)
		if stop < end {
			return slices.Concat(b[:at], field, b[end:])
		}
		body := slices.Concat(b[start:at], field, b[end:stop])
		field = append(binary.AppendUvarint(slices.Clone(b[outer:next]), uint64(len(body))), body...)
		at, end = outer, stop
	}
}

func oneOf(rnd *rand.Rand, seeds [][]byte) []byte { return seeds[rnd.IntN(len(seeds))] }

// smallTraces has every kind of field in less than 300 bytes: 2 resources, 3 scopes, 3 spans.
func smallTraces() []byte {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.SetSchemaUrl("u")
	rs.Resource().Attributes().PutStr("service.name", "a")
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName("http")
	s := ss.Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID{1, 15: 1})
	s.SetSpanID(pcommon.SpanID{2})
	s.SetParentSpanID(pcommon.SpanID{3})
	s.SetName("GET")
	s.SetKind(ptrace.SpanKindServer)
	s.SetStartTimestamp(1_760_000_000_000_000_000)
	s.SetEndTimestamp(1_760_000_000_050_000_000)
	s.Status().SetCode(ptrace.StatusCodeError)
	s.Status().SetMessage("late")
	smallAttributes(s.Attributes())
	e := s.Events().AppendEmpty()
	e.SetTimestamp(7)
	e.SetName("ev")
	e.Attributes().PutStr("e", "f")
	l := s.Links().AppendEmpty()
	l.SetTraceID(pcommon.TraceID{4})
	l.SetSpanID(pcommon.SpanID{5})
	s = rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetFlags(0x101)
	s.TraceState().FromRaw("ot=th:8")
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("x")
	b, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	return b
}

// tinyTraces is so small that most damage hits a header.
func tinyTraces() []byte {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("k", "v")
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName("n")
	ss.Spans().AppendEmpty().Attributes().PutBool("t", true)
	b, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	return b
}

func smallAttributes(m pcommon.Map) {
	m.PutStr("s", "t")
	m.PutBool("b", true)
	m.PutInt("i", 300)
	m.PutDouble("d", 2.5)
	m.PutEmpty("e")
	m.PutEmptyBytes("y").FromRaw([]byte{0, 255})
	m.PutEmptySlice("l").AppendEmpty().SetInt(1)
	m.PutEmptyMap("m").PutStr("k", "v")
}

// smallLogs is smallTraces for log records.
func smallLogs() []byte {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "a")
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName("slog")
	r := sl.LogRecords().AppendEmpty()
	r.SetTimestamp(1_760_000_000_000_000_000)
	r.SetObservedTimestamp(1_760_000_000_000_000_100)
	r.SetSeverityNumber(plog.SeverityNumberWarn)
	r.SetSeverityText("WARN")
	r.Body().SetStr("slow")
	r.SetEventName("ev")
	r.SetTraceID(pcommon.TraceID{1, 15: 1})
	r.SetSpanID(pcommon.SpanID{2})
	r.SetFlags(1)
	smallAttributes(r.Attributes())
	rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetEmptyMap().PutInt("n", 1)
	rl = ld.ResourceLogs().AppendEmpty()
	rl.SetSchemaUrl("u")
	rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetDouble(1)
	b, _ := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	return b
}
