package exporter

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
)

// recorded returns one of the export requests that e2e/record has recorded of a real SDK, scanned.
func recorded(t *testing.T, name string, signal otlp.Signal) *otlp.Payload {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "recorded", name))
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 30_000 {
		t.Errorf("%s has %d B, which is no file to read in a diff", name, len(b))
	}
	for _, machine := range []string{"/tmp", "/work", "/home", "/root", "host.name", "process.", "os.type"} {
		if bytes.Contains(b, []byte(machine)) {
			t.Errorf("%s says %q of the machine it was recorded on", name, machine)
		}
	}
	var p otlp.Payload
	if err := p.Scan(signal, b); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &p
}

// recordings is what the apps of e2e/record promise: tests elsewhere take their cases from it.
var recordings = []struct{ sdk, platform string }{
	{"node", "gcp_cloud_run"}, {"go", "gcp_kubernetes_engine"}, {"java", "gcp_compute_engine"},
}

func TestRecordedTraces(t *testing.T) {
	for _, r := range recordings {
		t.Run(r.sdk, func(t *testing.T) {
			p := recorded(t, r.sdk+"-traces.pb", otlp.Traces)
			traces, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(p.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if p.Len() != traces.SpanCount() {
				t.Errorf("scanned %d spans, pdata has %d", p.Len(), traces.SpanCount())
			}
			wantPlatform(t, traces.ResourceSpans().At(0).Resource(), r.platform)
			seen := map[string]int{}
			for _, rs := range traces.ResourceSpans().All() {
				for _, ss := range rs.ScopeSpans().All() {
					for _, s := range ss.Spans().All() {
						tellSpan(seen, s)
					}
				}
			}
			want(t, seen, "server", "client", "status code", "error", "exception", "array", "link", "remote parent")
		})
	}
}

func tellSpan(seen map[string]int, s ptrace.Span) {
	_, requested := s.Attributes().Get("http.request.method")
	count(seen, "server", requested && s.Kind() == ptrace.SpanKindServer)
	count(seen, "client", requested && s.Kind() == ptrace.SpanKindClient)
	_, answered := s.Attributes().Get("http.response.status_code")
	count(seen, "status code", answered)
	count(seen, "error", s.Status().Code() == ptrace.StatusCodeError)
	for _, e := range s.Events().All() {
		_, stack := e.Attributes().Get("exception.stacktrace")
		count(seen, "exception", e.Name() == "exception" && stack)
	}
	for _, v := range s.Attributes().All() {
		count(seen, "array", v.Type() == pcommon.ValueTypeSlice)
	}
	count(seen, "link", s.Links().Len() > 0)
	count(seen, "remote parent", s.Flags()&0x300 == 0x300)
}

func TestRecordedLogs(t *testing.T) {
	for _, r := range recordings {
		t.Run(r.sdk, func(t *testing.T) {
			p := recorded(t, r.sdk+"-logs.pb", otlp.Logs)
			logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(p.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if p.Len() != logs.LogRecordCount() {
				t.Errorf("scanned %d records, pdata has %d", p.Len(), logs.LogRecordCount())
			}
			wantPlatform(t, logs.ResourceLogs().At(0).Resource(), r.platform)
			seen := map[string]int{}
			for _, rl := range logs.ResourceLogs().All() {
				for _, sl := range rl.ScopeLogs().All() {
					for _, record := range sl.LogRecords().All() {
						tellRecord(seen, record)
					}
				}
			}
			want(t, seen, "DEBUG", "INFO", "WARN", "ERROR", "without trace", "text", "structured", "attributes", "sampled", "event")
		})
	}
}

func tellRecord(seen map[string]int, r plog.LogRecord) {
	inTrace := !r.TraceID().IsEmpty() && !r.SpanID().IsEmpty()
	severity := map[plog.SeverityNumber]string{
		plog.SeverityNumberDebug: "DEBUG", plog.SeverityNumberInfo: "INFO", plog.SeverityNumberWarn: "WARN", plog.SeverityNumberError: "ERROR",
	}
	count(seen, severity[r.SeverityNumber()], inTrace)
	count(seen, "without trace", !inTrace && r.SeverityNumber() >= plog.SeverityNumberWarn)
	count(seen, "text", r.Body().Type() == pcommon.ValueTypeStr)
	count(seen, "structured", r.Body().Type() == pcommon.ValueTypeMap)
	count(seen, "attributes", r.Attributes().Len() > 0)
	count(seen, "sampled", r.Flags().IsSampled())
	count(seen, "event", r.EventName() != "")
}

func count(seen map[string]int, what string, is bool) {
	if is {
		seen[what]++
	}
}

func want(t *testing.T, seen map[string]int, all ...string) {
	t.Helper()
	for _, what := range all {
		if seen[what] == 0 {
			t.Errorf("nothing is recorded with %q, seen: %v", what, seen)
		}
	}
}

func wantPlatform(t *testing.T, r pcommon.Resource, platform string) {
	t.Helper()
	if v, _ := r.Attributes().Get("cloud.platform"); v.AsString() != platform {
		t.Errorf("resource is %v, want one of %s", r.Attributes().AsRaw(), platform)
	}
}
