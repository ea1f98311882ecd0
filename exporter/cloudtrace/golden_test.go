package cloudtrace

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/trace/apiv2/tracepb"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/exporter/googletest"
	"tailweir/golden"
	"tailweir/otlp"
)

// goldens: what becomes of OTLP. The files hold the requests as the fake received them.
var goldens = []struct {
	name   string
	make   func(td ptrace.Traces, ss ptrace.ScopeSpans, r pcommon.Resource)
	routes []gcp.Route
}{
	{name: "kinds", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) {
		for kind := range 7 { // and one that nobody knows
			s := addSpan(ss, kind+1)
			s.SetKind(ptrace.SpanKind(kind))
			s.SetName(fmt.Sprintf("kind %d", kind))
		}
	}},
	{name: "statuses", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) {
		for code := range 4 {
			addSpan(ss, 2*code+1).Status().SetCode(ptrace.StatusCode(code))
			s := addSpan(ss, 2*code+2).Status()
			s.SetCode(ptrace.StatusCode(code))
			s.SetMessage("what \xff happened")
		}
	}},
	{name: "attributes", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) {
		allValues(addSpan(ss, 1).Attributes())
	}},
	{name: "events", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) {
		s := addSpan(ss, 1)
		for i, name := range []string{"exception", "", "caf\xff\xe9"} {
			e := s.Events().AppendEmpty()
			e.SetName(name)
			e.SetTimestamp(began + pcommon.Timestamp(i))
			allValues(e.Attributes())
			e.SetDroppedAttributesCount(uint32(i))
		}
		s.SetDroppedEventsCount(7)
	}},
	{name: "links", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) {
		s := addSpan(ss, 1)
		for i := range 3 {
			l := s.Links().AppendEmpty()
			l.SetTraceID(pcommon.TraceID{1: 1, 15: byte(i)})
			if i < 2 {
				l.SetSpanID(pcommon.SpanID{1: 1, 7: byte(i)})
			}
			l.SetFlags([]uint32{0, 0x301, 0}[i])
			l.TraceState().FromRaw([]string{"", "ot=th:8", "lost=1"}[i])
			l.SetDroppedAttributesCount(uint32(i))
			l.Attributes().PutInt("number", int64(i))
		}
		s.SetDroppedLinksCount(1 << 31)
	}},
	{name: "context", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) {
		for i, flags := range []uint32{0, 1, 0x101, 0x301, 0x303} {
			s := addSpan(ss, i+1)
			s.SetParentSpanID(pcommon.SpanID{1: 1})
			s.SetFlags(flags)
			s.TraceState().FromRaw("ot=th:fd70a,vendor=x")
			s.SetDroppedAttributesCount(3)
		}
		s := addSpan(ss, 6)
		s.SetParentSpanID(pcommon.SpanID{1: 1})
		s.SetKind(ptrace.SpanKindServer) // nothing is said of the parent
		addSpan(ss, 7).SetKind(ptrace.SpanKindServer)
	}},
	{name: "http-current", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) {
		a := addSpan(ss, 1).Attributes()
		a.PutStr("http.request.method", "GET")
		a.PutInt("http.response.status_code", 503)
		a.PutStr("url.full", "https://shop.example/cart?x=1")
		a.PutStr("url.path", "/cart")
		a.PutStr("http.route", "/{page}")
		a.PutStr("server.address", "shop.example")
		a.PutStr("user_agent.original", "curl/8")
		a.PutInt("http.request.body.size", 10)
		a.PutInt("http.response.body.size", 2000)
	}},
	{name: "http-old", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) {
		a := addSpan(ss, 1).Attributes()
		a.PutStr("http.method", "POST")
		a.PutInt("http.status_code", 404)
		a.PutStr("http.url", "https://shop.example/cart")
		a.PutStr("http.target", "/cart?x=1")
		a.PutStr("http.host", "shop.example:443")
		a.PutStr("http.user_agent", "curl/7")
		a.PutInt("http.request_content_length", 10)
		a.PutInt("http.response_content_length", 2000)
		b := addSpan(ss, 2).Attributes() // both, and one label already there
		b.PutStr("http.method", "old")
		b.PutStr("http.request.method", "new")
		b.PutStr("/http/host", "set by hand")
		b.PutStr("server.address", "shop.example")
		c := addSpan(ss, 3).Attributes() // not HTTP
		c.PutStr("server.address", "db.example")
		c.PutStr("url.full", "postgres://db.example")
	}},
	{name: "resource", make: func(td ptrace.Traces, ss ptrace.ScopeSpans, r pcommon.Resource) {
		td.ResourceSpans().At(0).SetSchemaUrl("https://opentelemetry.io/schemas/1.27.0")
		a := r.Attributes()
		a.PutStr("service.name", "shop")
		a.PutStr("telemetry.sdk.language", "go")
		a.PutStr("telemetry.sdk.version", "1.47.0")
		a.PutStr("url.full", "not the span's")
		a.PutEmptySlice("process.command_args").FromRaw([]any{"shop", "-v"})
		a.PutStr("both", "resource")
		allValues(a)
		r.SetDroppedAttributesCount(2)
		ss.SetSchemaUrl("https://opentelemetry.io/schemas/1.30.0")
		ss.Scope().SetName("net/http")
		ss.Scope().SetVersion("0.63.0")
		ss.Scope().Attributes().PutBool("internal", true)
		ss.Scope().SetDroppedAttributesCount(1)
		s := addSpan(ss, 1).Attributes()
		s.PutStr("both", "span")
		s.PutStr("http.request.method", "GET")
	}},
	{name: "cloud-run", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, r pcommon.Resource) {
		for k, v := range map[string]string{
			"cloud.provider": "gcp", "cloud.platform": "gcp_cloud_run", "cloud.region": "europe-west1",
			"faas.name": "shop", "faas.version": "shop-00001-abc", "faas.instance": "00f", "cloud.account.id": "my-account",
		} {
			r.Attributes().PutStr(k, v)
		}
		r.Attributes().PutStr("g.co/agent", "the resource's")
		addSpan(ss, 1)
	}},
	{name: "gke", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, r pcommon.Resource) {
		for k, v := range map[string]string{
			"cloud.provider": "gcp", "cloud.platform": "gcp_kubernetes_engine", "cloud.availability_zone": "europe-west1-b",
			"k8s.cluster.name": "one", "k8s.namespace.name": "shop", "k8s.pod.name": "shop-1", "k8s.container.name": "main",
		} {
			r.Attributes().PutStr(k, v)
		}
		addSpan(ss, 1)
	}},
	{name: "projects", routes: []gcp.Route{{Attribute: "tenant", Value: "big", Project: "big-tenant"}},
		make: func(td ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) {
			addSpan(ss, 1)
			addSpan(ss, 2).Attributes().PutStr("tenant", "big")
			for i, key := range []string{"gcp.project_id", "gcp.project.id", "tenant"} {
				rs := td.ResourceSpans().AppendEmpty()
				rs.Resource().Attributes().PutStr(key, []string{"team-one", "team-two", "big"}[i])
				addSpan(rs.ScopeSpans().AppendEmpty(), 3+i)
			}
		}},
	{name: "limits-met", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) { atLimits(ss, 0) }},
	{name: "limits-exceeded", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) { atLimits(ss, 1) }},
	{name: "odd", make: func(_ ptrace.Traces, ss ptrace.ScopeSpans, _ pcommon.Resource) {
		s := addSpan(ss, 1)
		s.SetName("")
		s.SetParentSpanID(s.SpanID())
		s.SetEndTimestamp(began - 1)
		s.Attributes().PutStr("", "empty key")
		s.Attributes().PutStr("k\xff", "key that is not UTF-8")
		s.Attributes().PutStr("v", "a\xff\xfeb")
		s.Attributes().PutStr("g.co/agent", "mine")
		addSpan(ss, 2).SetEndTimestamp(1<<64 - 1)
	}},
}

func allValues(m pcommon.Map) {
	m.PutStr("string", "text")
	m.PutBool("bool", true)
	m.PutInt("int", -1<<63)
	m.PutDouble("double", 1.5e10)
	m.PutEmptyBytes("bytes").FromRaw([]byte{0, 1, 255})
	m.PutEmpty("empty")
	s := m.PutEmptySlice("array")
	s.AppendEmpty().SetStr("a\"b")
	s.AppendEmpty().SetInt(1)
	s.AppendEmpty().SetEmptyMap().PutDouble("x", 0.5)
	m.PutEmptyMap("map").PutStr("k", "v")
}

// atLimits makes a span for each limit, that is over it by the given number.
func atLimits(ss ptrace.ScopeSpans, over int) {
	s := addSpan(ss, 1)
	s.SetName(strings.Repeat("n", maxName-2) + "é" + strings.Repeat("n", over))
	e := s.Events().AppendEmpty()
	e.SetName(strings.Repeat("e", maxName+over))
	e.Attributes().PutStr("value", strings.Repeat("v", maxValue+over))
	a := addSpan(ss, 2).Attributes()
	a.PutStr(strings.Repeat("k", maxKey+over), "key")
	a.PutStr(strings.Repeat("k", maxKey+over-1)+"l", "other key")
	a.PutStr("value", strings.Repeat("v", maxValue+over))
	a.PutEmptySlice("list").AppendEmpty().SetStr(strings.Repeat("v", maxValue+over-4)) // ["…"]
	a = addSpan(ss, 3).Attributes()
	for i := range maxAttributes - 2 + over { // agent and trace state
		a.PutInt(fmt.Sprintf("k%04d", i), int64(i))
	}
	if over > 0 {
		a.PutStr(traceState, "not this one")
	}
	ss.Spans().At(2).TraceState().FromRaw("ot=th:0")
	s = addSpan(ss, 4)
	for i := range maxEvents + over {
		s.Events().AppendEmpty().SetTimestamp(began + pcommon.Timestamp(i))
	}
	s = addSpan(ss, 5)
	for i := range maxLinks + over {
		l := s.Links().AppendEmpty()
		l.SetTraceID(pcommon.TraceID{1: 1, 15: byte(i)})
		l.SetSpanID(pcommon.SpanID{1: 1, 7: byte(i)})
	}
	e = addSpan(ss, 6).Events().AppendEmpty()
	for i := range maxAttributes + over {
		e.Attributes().PutInt(fmt.Sprintf("k%04d", i), int64(i))
	}
	s = addSpan(ss, 7) // with room for all but for what says that the name is cut
	s.SetName(strings.Repeat("n", maxName+over))
	for i := range maxAttributes - 1 {
		s.Attributes().PutInt(fmt.Sprintf("k%04d", i), int64(i))
	}
}

func TestGolden(t *testing.T) {
	for _, c := range goldens {
		t.Run(c.name, func(t *testing.T) {
			fake, e := start(t, googletest.Config{Record: true}, func(cfg *Config) { cfg.Routes.Routes = c.routes })
			td, ss, r := scoped()
			c.make(td, ss, r)
			if err := export(t, e, batch(t, td)); err != nil {
				t.Fatal(err)
			}
			checkGolden(t, c.name, fake)
		})
	}
}

// TestRecorded is of payloads that SDKs sent.
func TestRecorded(t *testing.T) {
	for _, name := range []string{"go", "java", "node"} {
		payload, err := os.ReadFile(filepath.Join("..", "testdata", "recorded", name+"-traces.pb"))
		if err != nil {
			t.Fatal(err)
		}
		var p otlp.Payload
		if err := p.Scan(otlp.Traces, payload); err != nil {
			t.Fatal(err)
		}
		then := timeOf(p.Span(0).End())
		fake, e := start(t, googletest.Config{Record: true, Now: func() time.Time { return then }})
		if err := export(t, e, &exporter.Batch{Signal: otlp.Traces, Payload: payload, Items: p.Len()}); err != nil {
			t.Fatal(err)
		}
		checkGolden(t, "recorded-"+name, fake)
	}
}

func checkGolden(t *testing.T, name string, fake *googletest.Server) {
	t.Helper()
	all := requests(fake)
	slices.SortFunc(all, func(a, b *tracepb.BatchWriteSpansRequest) int { return cmp.Compare(a.Name, b.Name) })
	var got strings.Builder
	for _, r := range all {
		got.WriteString(short(requestText(t, r)))
	}
	golden.Check(t, filepath.Join("testdata", "golden", name+".json"), got.String())
}

// short makes the files of long texts and lists ones that people can read.
func short(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		for _, c := range []string{"n", "e", "k", "v"} {
			if run := strings.Repeat(c, 100); strings.Contains(line, run) {
				n := len(line) - len(strings.ReplaceAll(line, run, ""))
				line = strings.ReplaceAll(line, run, "") + fmt.Sprintf("^ %d times %s\n", n, c)
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, "")
}
