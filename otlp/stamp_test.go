package otlp

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

var tenant = NewStamp(map[string]string{"tenant": "acme", "cell": "eu1"})

// join puts fields behind each other.
func join(fields ...[]byte) []byte { return bytes.Join(fields, nil) }

// nested is a length-delimited field.
func nested(tag byte, content ...[]byte) []byte {
	body := join(content...)
	return append(appendField(nil, tag, len(body)), body...)
}

func attribute(key, value string) []byte { return appendAttribute(nil, key, value) }

// resourcesOf is what pdata reads of the payload's resources.
func resourcesOf(t *testing.T, s Signal, payload []byte) (all []map[string]any) {
	t.Helper()
	see := func(r pcommon.Resource) { all = append(all, r.Attributes().AsRaw()) }
	var err error
	switch s {
	case Traces:
		req := ptraceotlp.NewExportRequest()
		err = req.UnmarshalProto(payload)
		for _, g := range req.Traces().ResourceSpans().All() {
			see(g.Resource())
		}
	case Logs:
		req := plogotlp.NewExportRequest()
		err = req.UnmarshalProto(payload)
		for _, g := range req.Logs().ResourceLogs().All() {
			see(g.Resource())
		}
	default:
		req := pmetricotlp.NewExportRequest()
		err = req.UnmarshalProto(payload)
		for _, g := range req.Metrics().ResourceMetrics().All() {
			see(g.Resource())
		}
	}
	if err != nil {
		t.Fatalf("pdata reads %x: %v", payload, err)
	}
	return all
}

func TestStampOfEachSignal(t *testing.T) {
	fill := func(r pcommon.Resource) {
		r.Attributes().PutStr("tenant", "forged")
		r.Attributes().PutStr("service.name", "shop")
		r.Attributes().PutInt("cell", 7)
	}
	td, ld, md := ptrace.NewTraces(), plog.NewLogs(), pmetric.NewMetrics()
	rs := td.ResourceSpans().AppendEmpty()
	fill(rs.Resource())
	rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("GET /")
	td.ResourceSpans().AppendEmpty()
	rl := ld.ResourceLogs().AppendEmpty()
	fill(rl.Resource())
	rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("hello")
	ld.ResourceLogs().AppendEmpty()
	rm := md.ResourceMetrics().AppendEmpty()
	fill(rm.Resource())
	rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetName("m")
	md.ResourceMetrics().AppendEmpty()
	want := []map[string]any{
		{"service.name": "shop", "tenant": "acme", "cell": "eu1"},
		{"tenant": "acme", "cell": "eu1"},
	}
	for s, req := range map[Signal]interface{ MarshalProto() ([]byte, error) }{
		Traces:  ptraceotlp.NewExportRequestFromTraces(td),
		Logs:    plogotlp.NewExportRequestFromLogs(ld),
		Metrics: pmetricotlp.NewExportRequestFromMetrics(md),
	} {
		payload, err := req.MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		out, err := tenant.Append(nil, payload)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if diff := cmp.Diff(want, resourcesOf(t, s, out)); diff != "" {
			t.Errorf("%s: resources (-want +got):\n%s", s, diff)
		}
	}
}

// What a sender can do to keep its own value: every form that protobuf allows for the same attribute.
func TestStampCannotBeForged(t *testing.T) {
	forged := attribute("tenant", "forged")
	key := nested(keyTag, []byte("tenant"))
	value := nested(valueTag, nested(1<<3|wireLen, []byte("forged")))
	for name, payload := range map[string][]byte{
		"no resource":              nested(groupTag),
		"no resource, but scopes":  nested(groupTag, nested(2<<3|wireLen)),
		"an empty resource":        nested(groupTag, nested(resourceTag)),
		"once":                     nested(groupTag, nested(resourceTag, forged)),
		"twice":                    nested(groupTag, nested(resourceTag, forged, attribute("a", "b"), forged)),
		"in two resources":         nested(groupTag, nested(resourceTag, forged), nested(resourceTag, forged)),
		"behind the scopes":        nested(groupTag, nested(2<<3|wireLen), nested(resourceTag, forged)),
		"value before key":         nested(groupTag, nested(resourceTag, nested(resourceTag, value, key))),
		"another key before":       nested(groupTag, nested(resourceTag, nested(resourceTag, nested(keyTag, []byte("other")), value, key))),
		"tags of two bytes":        append([]byte{groupTag | 0x80, 0, byte(len(forged) + 3), resourceTag | 0x80, 0, byte(len(forged))}, forged...),
		"a field number of 32 bit": nested(groupTag, nested(resourceTag, append([]byte{0x8a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, byte(len(forged) - 2)}, forged[2:]...))),
	} {
		out, err := tenant.Append(nil, payload)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, r := range resourcesOf(t, Traces, out) {
			if r["tenant"] != "acme" {
				t.Errorf("%s: tenant is %q, want acme", name, r["tenant"])
			}
		}
		if bytes.Contains(out, []byte("forged")) {
			t.Errorf("%s: what the sender wrote is still there: %x", name, out)
		}
	}
}

func TestStampRefusesWhatIsCutOff(t *testing.T) {
	payload := nested(groupTag, nested(resourceTag, attribute("tenant", "x")))
	for n := 1; n < len(payload); n++ {
		if out, err := tenant.Append(nil, payload[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d of %d bytes become %x, error %v", n, len(payload), out, err)
		}
	}
	for name, payload := range map[string][]byte{
		"resource": nested(groupTag, []byte{resourceTag, 9}),
		"key":      nested(groupTag, nested(resourceTag, nested(resourceTag, []byte{keyTag, 9}))),
	} {
		if out, err := tenant.Append(nil, payload); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut off in the %s: %x, error %v", name, out, err)
		}
	}
}

// FuzzStamp holds the stamp to pdata: what it can read can be stamped, its resources then have the stamp's attributes, once each, and
// their other ones as before; what is scanned is scanned afterwards, too, and has the same items; and the bound holds.
func FuzzStamp(f *testing.F) {
	f.Add(nested(groupTag, nested(resourceTag, attribute("tenant", "x"), attribute("a", "b")), nested(2<<3|wireLen, nested(2<<3|wireLen))))
	f.Add(nested(groupTag))
	f.Add(join(nested(groupTag, nested(2<<3|wireLen)), []byte{0x78, 1}, nested(groupTag, nested(resourceTag, []byte{0x10, 1}))))
	f.Fuzz(func(t *testing.T, payload []byte) {
		bound, boundErr := tenant.Bound(payload)
		out, err := tenant.Append(nil, payload)
		if boundErr != nil && err == nil {
			t.Fatalf("no bound, %v, but a result", boundErr)
		}
		if err == nil && len(out) > bound {
			t.Fatalf("%d bytes, over the bound of %d", len(out), bound)
		}
		before := ptraceotlp.NewExportRequest()
		if before.UnmarshalProto(payload) != nil {
			return
		}
		if err != nil {
			t.Fatalf("pdata reads it, but the stamp does not: %v", err)
		}
		after := resourcesOf(t, Traces, out)
		if n := before.Traces().ResourceSpans().Len(); n != len(after) {
			t.Fatalf("%d resources became %d", n, len(after))
		}
		for i, g := range before.Traces().ResourceSpans().All() {
			want := map[string]any{}
			for k, v := range g.Resource().Attributes().All() {
				if k != "tenant" && k != "cell" {
					want[k] = v.AsString()
				}
			}
			want["tenant"], want["cell"] = "acme", "eu1"
			req := ptraceotlp.NewExportRequest()
			if err := req.UnmarshalProto(out); err != nil {
				t.Fatal(err)
			}
			got := map[string]any{}
			times := 0
			for k, v := range req.Traces().ResourceSpans().At(i).Resource().Attributes().All() {
				got[k] = v.AsString()
				if k == "tenant" {
					times++
				}
			}
			if diff := cmp.Diff(want, got); diff != "" || times != 1 {
				t.Fatalf("resource %d, stamped %d times (-want +got):\n%s", i, times, diff)
			}
		}
		var p, q Payload
		if p.Scan(Traces, payload) == nil {
			if err := q.Scan(Traces, out); err != nil || q.Len() != p.Len() {
				t.Fatalf("%d items became %d, %v", p.Len(), q.Len(), err)
			}
			for i := range int32(p.Len()) {
				if !bytes.Equal(p.body(i), q.body(i)) {
					t.Fatalf("item %d is changed", i)
				}
			}
		}
	})
}

func BenchmarkStamp(b *testing.B) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	for _, k := range []string{"service.name", "service.version", "host.name", "telemetry.sdk.name", "telemetry.sdk.language", "process.pid"} {
		rs.Resource().Attributes().PutStr(k, "a value of it")
	}
	for range 39 {
		rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName(string(make([]byte, 500)))
	}
	payload, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		b.Fatal(err)
	}
	var out []byte
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if out, err = tenant.Append(out[:0], payload); err != nil {
			b.Fatal(err)
		}
	}
}
