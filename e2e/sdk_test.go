package e2e_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// language is how the service of sdk/ in one language is run.
type language struct {
	name      string
	sdk       string   // telemetry.sdk.language
	protocols []string // of OTEL_EXPORTER_OTLP_PROTOCOL that the SDK has
	run       func(t *testing.T) (env []string, program string, args []string)
	entry     string   // name of the span of GET /order/fast
	own       []string // names of further spans of an order in the service itself
	records   int      // log records of an order
}

var languages = []language{
	{name: "node", sdk: "nodejs", protocols: []string{"http/protobuf", "http/json", "grpc"}, run: runNode, entry: "GET", records: 1},
	{name: "kotlin", sdk: "java", protocols: []string{"http/protobuf", "grpc"}, run: runKotlin, entry: "GET /order",
		own: []string{"shop.Prices/Price", "shop.Prices/Price"}, records: 2},
	{name: "python", sdk: "python", protocols: []string{"http/protobuf", "grpc"}, run: runPython, entry: "GET /order/<kind>", records: 1},
	{name: "go", sdk: "go", protocols: []string{"http/protobuf", "grpc"}, run: runGo, entry: "GET", records: 1},
}

func languageOf(name string) language {
	return languages[slices.IndexFunc(languages, func(l language) bool { return l.name == name })]
}

func runNode(t *testing.T) ([]string, string, []string) {
	dir := nodePackages(t)
	// Without these each request has spans of name lookups and connections as well.
	return []string{"OTEL_NODE_DISABLED_INSTRUMENTATIONS=net,dns", "OTEL_NODE_RESOURCE_DETECTORS=env"},
		"node", []string{"--require", filepath.Join(dir, "node_modules/@opentelemetry/auto-instrumentations-node/build/src/register.js"), filepath.Join(dir, "app.js")}
}

func runPython(t *testing.T) ([]string, string, []string) {
	dir := pythonPackages(t)
	return []string{"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED=true", "REQUESTS_CA_BUNDLE=", "CURL_CA_BUNDLE=", "OTEL_SEMCONV_STABILITY_OPT_IN=http", "PYTHONUNBUFFERED=1"},
		filepath.Join(dir, "venv/bin/opentelemetry-instrument"), []string{filepath.Join(dir, "venv/bin/python"), filepath.Join(dir, "app.py")}
}

func runKotlin(t *testing.T) ([]string, string, []string) {
	lib := filepath.Join(kotlinPackages(t), "lib")
	return nil, "java", []string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "-javaagent:" + filepath.Join(lib, "opentelemetry-javaagent.jar"), "-cp", lib + "/*", "ShopKt"}
}

func runGo(t *testing.T) ([]string, string, []string) {
	program := filepath.Join(binaries, "shop")
	defer locked(t, program+".lock")()
	if _, err := os.Stat(program); err != nil {
		start(t, nil, "go", "build", "-trimpath", "-o", program, "./sdk/go").finish(fetchTime)
	}
	return nil, program, nil
}

// shop is a running service of sdk/.
type shop struct {
	*process
	language
	service string // service.name
	url     string
}

// startShop starts a service that sends to endpoint by protocol; env comes last.
func startShop(t *testing.T, l language, service, endpoint, protocol string, env ...string) *shop {
	t.Helper()
	own, program, args := l.run(t)
	own = append(own, "OTEL_SERVICE_NAME="+service, "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol,
		"OTEL_TRACES_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp", "OTEL_METRICS_EXPORTER=none", "OTEL_TRACES_SAMPLER=always_on")
	s := &shop{process: start(t, append(own, env...), program, args...), language: l, service: service}
	awaitFor(t, 3*patience, service+" listens", func() string {
		if why := s.exited(); why != "" {
			t.Fatalf("%s\n%s", why, s.err.String())
		}
		for _, line := range s.out.lines() {
			if port, ok := strings.CutPrefix(line, "listening "); ok {
				s.url = "http://127.0.0.1:" + port
				return ""
			}
		}
		return "not a word of it"
	})
	return s
}

// caller is who calls the services: it has a trace context of its own, of which no span is ever sent.
type caller struct{ trace, span string }

func newCaller() caller {
	return caller{fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()), fmt.Sprintf("%016x", rand.Uint64()|1)}
}

// order asks the service for one and returns the trace that it is in.
func (s *shop) order(kind string, headers ...string) caller {
	s.t.Helper()
	c := newCaller()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/order/"+kind, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("traceparent", "00-"+c.trace+"-"+c.span+"-01")
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatalf("order of %s: %v", s.service, err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || string(body) != kind {
		s.t.Fatalf("order of %s: %q, %v", s.service, body, err)
	}
	return c
}

// end stops the service, which sends what is left.
func (s *shop) end() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	if code := s.wait(patience); code != 0 && code != 143 { // a JVM's status after SIGTERM
		s.t.Errorf("%s: exit status %d after SIGTERM\n%s", s.service, code, tail(s.err.String()))
	}
}

// keepAll starts a Tailweir that keeps every trace, and the backend it sends to.
func keepAll(t *testing.T, flags ...string) (*local, *sink) {
	t.Helper()
	return keeping(t, "- {name: all, type: always_sample}\n", flags...)
}

func keeping(t *testing.T, policies string, flags ...string) (*local, *sink) {
	t.Helper()
	backend := newSink(t)
	flags = append(flags, "--policies", writeFile(t, "policies.yaml", "policies:\n"+policies), "--otlp-endpoint", backend.url)
	return startLocal(t, flags...), backend
}

// TestSDKs sends traces and logs of a service in each language by each exporter of its SDK to an ingest that wants a key. The SDKs
// show it in either header, by OTEL_EXPORTER_OTLP_HEADERS alone.
func TestSDKs(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	key := newKey(t, file, "--name", "e2e")
	l, backend := keepAll(t, "--keys", file)
	headers := []string{"x-api-key=" + key, "Authorization=Bearer%20" + key}
	for _, lang := range languages {
		for i, protocol := range lang.protocols {
			t.Run(lang.name+"/"+strings.ReplaceAll(protocol, "/", "_"), func(t *testing.T) {
				t.Parallel()
				s := startShop(t, lang, lang.name+" "+protocol, l.otlp, protocol, "OTEL_EXPORTER_OTLP_HEADERS="+headers[i%2])
				orders := map[caller]string{}
				for range 8 {
					orders[s.order("fast")] = "fast"
				}
				orders[s.order("error")] = "error"
				s.end()
				for c, kind := range orders {
					checkOrder(t, backend, s, c, kind)
				}
			})
		}
	}
}

// TestWrongKey: an app with a key that is not in the file sends in vain, says so, and serves on.
func TestWrongKey(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	newKey(t, file, "--name", "e2e")
	stranger := newKey(t, filepath.Join(t.TempDir(), "others.yaml"), "--name", "other")
	l, backend := keepAll(t, "--keys", file)
	s := startShop(t, languageOf("go"), "stranger", l.otlp, "http/protobuf", "OTEL_EXPORTER_OTLP_HEADERS=x-api-key="+stranger)
	c := s.order("fast")
	s.end()
	if !strings.Contains(s.err.String(), "401") {
		t.Errorf("the app says nothing of 401:\n%s", s.err.String())
	}
	if got := backend.trail(c.trace); len(got.spans)+len(got.records) > 0 || l.stats().Received != (counts{}) {
		t.Errorf("received %+v, at the backend %+v", l.stats().Received, got)
	}
}

// checkOrder wants all of an order at the backend: its spans, and its log records within the service's own.
func checkOrder(t *testing.T, backend *sink, s *shop, c caller, kind string) {
	t.Helper()
	want := append([]string{s.entry}, s.own...)
	var got trail
	await(t, "trace "+c.trace+" is at the backend", func() string {
		got = backend.trail(c.trace)
		if len(got.spans) < len(want) || len(got.records) < s.records {
			return fmt.Sprintf("%d of %d spans, %d of %d log records", len(got.spans), len(want), len(got.records), s.records)
		}
		return ""
	})
	if diff := cmp.Diff(sorted(want), got.names()); diff != "" {
		t.Errorf("%s order, trace %s: spans (-want +got):\n%s", kind, c.trace, diff)
	}
	if len(got.records) != s.records {
		t.Errorf("trace %s: %d log records, want %d", c.trace, len(got.records), s.records)
	}
	ids := map[string]bool{}
	for _, span := range got.spans {
		ids[span.SpanID().String()] = true
	}
	for _, span := range got.spans {
		checkResource(t, s, span.resource)
		if span.ParentSpanID().String() != c.span {
			if !ids[span.ParentSpanID().String()] {
				t.Errorf("trace %s: the parent of span %q is neither the caller's nor of the trace", c.trace, span.Name())
			}
			continue
		}
		path, _ := span.Attributes().Get("url.path")
		if span.Kind() != ptrace.SpanKindServer || span.Name() != s.entry || !strings.HasPrefix(pathOf(span.Span), "/order/"+kind) {
			t.Errorf("trace %s: entry span %v %q with path %q: %v", c.trace, span.Kind(), span.Name(), path.AsString(), span.Attributes().AsRaw())
		}
		if failed := span.Status().Code() == ptrace.StatusCodeError; failed != (kind == "error") {
			t.Errorf("trace %s: %s order has status %v", c.trace, kind, span.Status().Code())
		}
		if span.EndTimestamp() <= span.StartTimestamp() || time.Since(span.StartTimestamp().AsTime()) > 10*time.Minute {
			t.Errorf("trace %s: from %v to %v", c.trace, span.StartTimestamp(), span.EndTimestamp())
		}
	}
	bodies := []string{}
	for _, r := range got.records {
		checkResource(t, s, r.resource)
		bodies = append(bodies, r.Body().Str())
		if !ids[r.SpanID().String()] {
			t.Errorf("trace %s: log record %q is in no span of it", c.trace, r.Body().Str())
		}
		if r.SeverityText() == "" || r.SeverityNumber() == 0 {
			t.Errorf("trace %s: log record %q has severity %q %d", c.trace, r.Body().Str(), r.SeverityText(), r.SeverityNumber())
		}
	}
	if want := s.service + " serves " + kind; !slices.Contains(bodies, want) {
		t.Errorf("trace %s: log records %q lack %q", c.trace, bodies, want)
	}
}

// pathOf is what the semantic conventions, old or new, say of a request's path.
func pathOf(span ptrace.Span) string {
	for _, name := range []string{"url.path", "http.target"} {
		if v, ok := span.Attributes().Get(name); ok {
			return v.Str()
		}
	}
	return ""
}

func checkResource(t *testing.T, s *shop, resource map[string]any) {
	t.Helper()
	if resource["service.name"] != s.service || resource["telemetry.sdk.language"] != s.sdk {
		t.Errorf("resource %v, want service.name=%s and telemetry.sdk.language=%s", resource, s.service, s.sdk)
	}
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return names
}

// TestChain asks Node, which asks Kotlin, which asks Python: one trace over all, its log records included, and one decision. Python
// alone fails, and only the policy of errors keeps anything, so spans of Node arrive because of what happened two services away.
func TestChain(t *testing.T) {
	t.Parallel()
	l, backend := keeping(t, "- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}\n")
	python := startShop(t, languageOf("python"), "stock", l.otlp, "grpc")
	kotlin := startShop(t, languageOf("kotlin"), "orders", l.otlp, "grpc", "NEXT="+python.url)
	node := startShop(t, languageOf("node"), "front", l.otlp, "http/protobuf", "NEXT="+kotlin.url)
	var failed, fine []caller
	for range 5 {
		failed, fine = append(failed, node.order("error")), append(fine, node.order("fast"))
	}
	node.end()
	kotlin.end()
	python.end()
	const logs = 4
	await(t, "all is decided", func() string {
		// An SDK may have something of its own to say in the log, so there can be more records.
		if s := l.stats(); s.Received.Spans < 10*len(chain) || s.Received.Logs < 10*logs || s.InFlight != (counts{}) {
			return fmt.Sprintf("received %+v, in flight %+v", s.Received, s.InFlight)
		}
		return ""
	})
	for _, c := range failed {
		var got trail
		await(t, "trace "+c.trace+" is at the backend", func() string {
			if got = backend.trail(c.trace); len(got.spans) < len(chain) || len(got.records) < logs {
				return fmt.Sprintf("%d spans, %d log records: %q", len(got.spans), len(got.records), got.names())
			}
			return ""
		})
		checkChain(t, c, got)
		if len(got.records) != logs {
			t.Errorf("trace %s: %d log records, want %d", c.trace, len(got.records), logs)
		}
		for _, r := range got.records {
			if kept, _ := r.Attributes().Get(keptAttribute); kept.AsString() != "true" {
				t.Errorf("trace %s: log record %q of %v has %s=%s", c.trace, r.Body().Str(), r.resource["service.name"], keptAttribute, kept.AsString())
			}
		}
	}
	for _, c := range fine {
		if got := backend.trail(c.trace); len(got.spans) != 0 || len(got.records) != logs {
			t.Errorf("trace %s without an error: %d spans and %d log records are kept, want none and %d", c.trace, len(got.spans), len(got.records), logs)
		}
	}
}

// chain is the spans of one order through all services, each under the one above.
var chain = []struct {
	service string
	kind    ptrace.SpanKind
	name    string
}{
	{"front", ptrace.SpanKindServer, "GET"},
	{"front", ptrace.SpanKindClient, "GET"},
	{"orders", ptrace.SpanKindServer, "GET /order"},
	{"orders", ptrace.SpanKindClient, "GET"},
	{"stock", ptrace.SpanKindServer, "GET /order/<kind>"},
	{"orders", ptrace.SpanKindClient, "shop.Prices/Price"}, // beside the call of stock
	{"orders", ptrace.SpanKindServer, "shop.Prices/Price"},
}

func checkChain(t *testing.T, c caller, got trail) {
	t.Helper()
	if len(got.spans) != len(chain) {
		t.Errorf("trace %s: %d spans, want %d", c.trace, len(got.spans), len(chain))
	}
	parent, entry := c.span, ""
	for i, want := range chain {
		if i == 5 {
			parent = entry
		}
		at := slices.IndexFunc(got.spans, func(s receivedSpan) bool {
			return s.ParentSpanID().String() == parent && s.resource["service.name"] == want.service && s.Kind() == want.kind && s.Name() == want.name
		})
		if at < 0 {
			t.Errorf("trace %s: no %v span %q of %s under %s: %q", c.trace, want.kind, want.name, want.service, parent, got.names())
			return
		}
		parent = got.spans[at].SpanID().String()
		if i == 2 {
			entry = parent
		}
	}
}
