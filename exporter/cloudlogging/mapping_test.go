package cloudlogging

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	loggingpb "cloud.google.com/go/logging/apiv2/loggingpb"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/golden"
	"tailweir/otlp"
)

// clock is the time at which the tests' records are mapped.
var clock = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testConfig() *Config {
	return Config{Routes: gcp.Routes{Project: "shop-logs", Routes: []gcp.Route{{Attribute: "tenant", Value: "a", Project: "tenant-a"}}}}.withDefaults()
}

// mapped maps the batch at the tests' time.
func mapped(t testing.TB, c *Config, b *exporter.Batch) *mapper {
	t.Helper()
	m := &mapper{config: c, now: clock}
	if err := m.mapBatch(b); err != nil {
		t.Fatal(err)
	}
	return m
}

// batchOf is a batch of one part with the records of the payload.
func batchOf(t testing.TB, payload []byte) *exporter.Batch {
	t.Helper()
	var p otlp.Payload
	if err := p.Scan(otlp.Logs, payload); err != nil {
		t.Fatal(err)
	}
	n := p.Len()
	part := exporter.Part{Items: n, Len: len(payload), Sources: []exporter.Source{{Message: 7, Items: n}}}
	return &exporter.Batch{Signal: otlp.Logs, Payload: payload, Items: n, Parts: []exporter.Part{part}}
}

func encodeLogs(t testing.TB, ld plog.Logs) []byte {
	t.Helper()
	b, err := (&plog.ProtoMarshaler{}).MarshalLogs(ld)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRequests compares what becomes of OTLP JSON, and of payloads as SDKs sent them, with golden files.
func TestRequests(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.json")
	if err != nil || len(inputs) < 14 {
		t.Fatalf("%d inputs, %v", len(inputs), err)
	}
	for _, input := range inputs {
		t.Run(strings.TrimSuffix(filepath.Base(input), ".json"), func(t *testing.T) {
			in, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			ld, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(in)
			if err != nil {
				t.Fatal(err)
			}
			m := mapped(t, testConfig(), batchOf(t, encodeLogs(t, ld)))
			golden.Check(t, strings.TrimSuffix(input, ".json")+".golden", describe(t, m))
		})
	}
}

// TestRecordedLogs maps what the SDKs really sent, as records of a trace that was kept.
func TestRecordedLogs(t *testing.T) {
	for _, sdk := range []string{"node", "go", "java"} {
		t.Run(sdk, func(t *testing.T) {
			payload, err := os.ReadFile("../testdata/recorded/" + sdk + "-logs.pb")
			if err != nil {
				t.Fatal(err)
			}
			b := batchOf(t, payload)
			b.Parts[0].Decided, b.Parts[0].Kept = true, true
			var p otlp.Payload
			if err := p.Scan(otlp.Logs, payload); err != nil {
				t.Fatal(err)
			}
			m := &mapper{config: testConfig(), now: time.Unix(0, int64(p.Record(0).ObservedTime()))}
			if err := m.mapBatch(b); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, "testdata/recorded-"+sdk+".golden", describe(t, m))
		})
	}
}

// describe is what was mapped: the requests in JSON, and the refusals.
func describe(t testing.TB, m *mapper) string {
	t.Helper()
	var out strings.Builder
	for _, r := range pack(m.entries) {
		out.WriteString(readable(t, sent(t, r)))
	}
	for _, r := range m.refused {
		fmt.Fprintf(&out, "refused part %d items %v: %s: %v\n", r.Part, r.Items, r.Reason, r.Err)
	}
	return out.String()
}

// sent is the request as a server reads it.
func sent(t testing.TB, entries []entry) *loggingpb.WriteLogEntriesRequest {
	t.Helper()
	b, err := proto.Marshal(newRequest(entries))
	r := &loggingpb.WriteLogEntriesRequest{}
	if err != nil || proto.Unmarshal(b, r) != nil || len(r.ProtoReflect().GetUnknown()) > 0 || len(b) > maxRequest+10 {
		t.Fatalf("request of %d B: %v", len(b), err)
	}
	return r
}

// decoded are the mapped entries as a server reads them.
func decoded(t testing.TB, m *mapper) (entries []*loggingpb.LogEntry) {
	t.Helper()
	for i := range m.entries {
		entries = append(entries, sent(t, m.entries[i:i+1]).Entries...)
	}
	return entries
}

// readable is the message as JSON in one form: that of protojson has spaces by chance.
func readable(t testing.TB, m proto.Message) string {
	t.Helper()
	b, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", " "); err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}

// one maps the only record of a payload, whose fields set makes, to the only entry.
func one(t testing.TB, set func(plog.LogRecord)) *loggingpb.LogEntry {
	t.Helper()
	m := mapped(t, testConfig(), batchOf(t, record(t, set)))
	if len(m.entries) != 1 || len(m.refused) != 0 {
		t.Fatalf("%d entries, refused %v; want one entry", len(m.entries), m.refused)
	}
	return decoded(t, m)[0]
}

func record(t testing.TB, set ...func(plog.LogRecord)) []byte {
	t.Helper()
	ld := plog.NewLogs()
	sl := ld.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
	for _, f := range set {
		f(sl.LogRecords().AppendEmpty())
	}
	return encodeLogs(t, ld)
}

// TestSettings: where the trace is, and which resource attributes become labels.
func TestSettings(t *testing.T) {
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	for _, k := range []string{"service.name", "service.version", "cloud.region"} {
		rl.Resource().Attributes().PutStr(k, "v")
	}
	rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().SetTraceID([16]byte{15: 1})
	for _, test := range []struct {
		traces string
		keys   []string
		want   string
	}{
		{"", nil, "projects/shop-logs/logs/otlp projects/shop-logs/traces/00000000000000000000000000000001 [service.name]"},
		{"shop-traces", []string{"service.version", "none"},
			"projects/shop-logs/logs/app%2Fweb projects/shop-traces/traces/00000000000000000000000000000001 [service.name service.version]"},
		{"shop-traces", []string{"*"},
			"projects/shop-logs/logs/app%2Fweb projects/shop-traces/traces/00000000000000000000000000000001 [cloud.region service.name service.version]"},
	} {
		c := Config{Routes: gcp.Routes{Project: "shop-logs"}, TraceProject: test.traces, ResourceLabels: test.keys}
		if test.traces != "" {
			c.LogName = "app/web"
		}
		e := decoded(t, mapped(t, c.withDefaults(), batchOf(t, encodeLogs(t, ld))))[0]
		if got := fmt.Sprint(e.LogName, " ", e.Trace, " ", slices.Sorted(maps.Keys(e.Labels))); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}
