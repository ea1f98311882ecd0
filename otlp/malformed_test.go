package otlp

import (
	"errors"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/protobuf/encoding/protowire"
)

// field encodes one length-delimited field.
func field(n protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), body)
}

// inSpan wraps the fields of a span into a payload.
func inSpan(fields ...[]byte) []byte {
	var body []byte
	for _, f := range fields {
		body = append(body, f...)
	}
	return field(1, field(2, field(2, body)))
}

func TestMalformed(t *testing.T) {
	id := func(n int) []byte { return []byte(strings.Repeat("\x01", n)) }
	varint := func(n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
	}
	good := inSpan(field(1, id(16)), field(2, id(8)), field(5, []byte("GET /")))
	for name, tc := range map[string]struct {
		payload []byte
		ok      bool
	}{
		"good":                     {good, true},
		"empty":                    {nil, true},
		"no ids":                   {inSpan(field(5, []byte("x"))), true},
		"unknown field":            {append(varint(99, 7), good...), true},
		"unknown field in span":    {inSpan(varint(99, 7)), true},
		"cut in the middle":        {good[:len(good)-3], false},
		"cut after the tag":        {good[:1], false},
		"length beyond the end":    {[]byte{0x0a, 0x7f, 0x00}, false},
		"varint of eleven bytes":   {append([]byte{0x98, 0x06}, append([]byte(strings.Repeat("\xff", 10)), 0x01)...), false},
		"field number 0":           {[]byte{0x02, 0x00}, false},
		"span is a varint":         {field(1, field(2, varint(2, 1))), false},
		"name is a varint":         {inSpan(varint(5, 1)), false},
		"start is a varint":        {inSpan(varint(7, 1)), false},
		"kind is bytes":            {inSpan(field(6, []byte{1})), false},
		"trace id of 1 byte":       {inSpan(field(1, id(1))), false},
		"trace id of 15 bytes":     {inSpan(field(1, id(15))), false},
		"trace id of 17 bytes":     {inSpan(field(1, id(17))), false},
		"span id of 7 bytes":       {inSpan(field(2, id(7))), false},
		"parent id of 9 bytes":     {inSpan(field(4, id(9))), false},
		"attribute cut":            {inSpan(field(9, []byte{0x0a, 0x05, 'k'})), false},
		"attribute value is fixed": {inSpan(field(9, []byte{0x15, 0, 0, 0, 0})), false},
		"event time is bytes":      {inSpan(field(11, field(1, []byte("x")))), false},
		"link id of 3 bytes":       {inSpan(field(13, field(1, id(3)))), false},
		"status code is bytes":     {inSpan(field(15, field(3, []byte("x")))), false},
	} {
		t.Run(name, func(t *testing.T) {
			checkTraces(t, tc.payload) // pdata must agree
			err := new(Payload).Scan(Traces, tc.payload)
			if (err == nil) != tc.ok {
				t.Fatalf("Scan: %v, want accepted: %v", err, tc.ok)
			}
			if err == nil {
				return
			}
			var scan *ScanError
			if !errors.Is(err, ErrMalformed) || !errors.As(err, &scan) {
				t.Errorf("error %T %v, want a ScanError that is ErrMalformed", err, err)
			} else if scan.Offset < 0 || scan.Offset > len(tc.payload) || !strings.Contains(err.Error(), "traces") {
				t.Errorf("error %q at %d, want the signal and a place in %d bytes", err, scan.Offset, len(tc.payload))
			}
		})
	}
}

func TestDeepNestingEndsInAnError(t *testing.T) {
	value := field(1, []byte("x")) // an AnyValue
	for range 20_000 {
		value = field(5, field(1, value)) // in an array, in an AnyValue
		if len(value) > 1<<20 {
			break
		}
	}
	payload := inSpan(field(9, append(field(1, []byte("k")), field(2, value)...)))
	if err := new(Payload).Scan(Traces, payload); !errors.Is(err, ErrMalformed) {
		t.Errorf("20,000 nested arrays: %v, want ErrMalformed", err)
	}
}

func TestWarmScanDoesNotAllocate(t *testing.T) {
	payload := sampleTraces(3, 20)
	var p Payload
	if n := testing.AllocsPerRun(20, func() {
		if err := p.Scan(Traces, payload); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a warm scan, want none", n)
	}
}

// A suffix is an attribute more in each record that leaves, and pdata reads it.
func TestSuffixIsAnAttributeOfEachItem(t *testing.T) {
	var p Payload
	if err := p.Scan(Logs, sampleLogs(4)); err != nil {
		t.Fatal(err)
	}
	suffix := append(BoolAttributeField(Logs, "kept", true), AttributeField(Logs, "why", "because")...)
	var out []byte
	for _, g := range p.Groups() {
		out = p.Index().AppendGroup(out, g.First, &Edit{Suffix: suffix})
	}
	ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(out)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				n++
				kept, _ := r.Attributes().Get("kept")
				why, _ := r.Attributes().Get("why")
				if !kept.Bool() || why.Str() != "because" {
					t.Errorf("record %d has attributes %v", n, r.Attributes().AsRaw())
				}
			}
		}
	}
	if n != p.Len() {
		t.Errorf("%d records left, want %d", n, p.Len())
	}
}

func TestJSON(t *testing.T) {
	const in = `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","startTimeUnixNano":"1700000000000000001","endTimeUnixNano":1700000000000000002,"attributes":[{"key":"n","value":{"intValue":"42"}}]}]}]}]}`
	payload, err := FromJSON(Traces, []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	var p Payload
	if err := p.Scan(Traces, payload); err != nil {
		t.Fatal(err)
	}
	s := p.Span(0)
	n, _ := s.Attribute("n")
	if s.TraceID().String() != "5b8efff798038103d269b633813fc60c" || s.Start() != 1700000000000000001 || s.End() != 1700000000000000002 || n.Int() != 42 {
		t.Errorf("read %s, %d to %d, n = %d", s.TraceID(), s.Start(), s.End(), n.Int())
	}
	out, err := ToJSON(Traces, payload)
	if err != nil {
		t.Fatal(err)
	}
	again, err := FromJSON(Traces, out)
	if err != nil || string(again) != string(payload) {
		t.Errorf("JSON does not come back as it was: %v", err)
	}
	for _, bad := range []string{"", "{", `{"resourceSpans":7}`, in + in} {
		if _, err := FromJSON(Traces, []byte(bad)); err == nil {
			t.Errorf("FromJSON(%.20q): no error", bad)
		}
	}
}

func TestIdentifiers(t *testing.T) {
	id, err := ParseTraceID("5b8efff798038103d269b633813fc60c")
	if err != nil || id.String() != "5b8efff798038103d269b633813fc60c" {
		t.Errorf("ParseTraceID: %v, %v", id, err)
	}
	for _, bad := range []string{"", "5b8e", "zz8efff798038103d269b633813fc60c", strings.Repeat("0", 32), strings.Repeat("a", 33)} {
		if _, err := ParseTraceID(bad); err == nil {
			t.Errorf("ParseTraceID(%q): no error", bad)
		}
	}
	for _, s := range []Signal{Traces, Logs, Metrics} {
		if got, ok := SignalOf(s.EventType()); !ok || got != s {
			t.Errorf("SignalOf(%q) = %v, %v", s.EventType(), got, ok)
		}
	}
	if _, ok := SignalOf("something else"); ok {
		t.Error("SignalOf accepts what is no signal")
	}
}
