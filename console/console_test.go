package console_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tailweir/console"
)

func ask(t *testing.T, h http.Handler, method, target, host string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const (
	checkoutID = "01000000000000000000000000000000"
	hostileID  = "02000000000000000000000000000000"
	unknownID  = "ff000000000000000000000000000000"
)

func TestRoutes(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "spans_total 1\n") })
	c := console.New(example(t), console.Config{Metrics: metrics})
	for _, tt := range []struct {
		method, path string
		code         int
		contentType  string
		want         string // the whole body for JSON, else a part of it
	}{
		{"GET", "/", 200, "text/html", "Latest kept traces"},
		{"HEAD", "/", 200, "text/html", ""},
		{"GET", "/nowhere", 404, "text/html", "No such page"},
		{"GET", "/trace/" + checkoutID, 200, "text/html", "GET /checkout"},
		{"GET", "/trace/" + unknownID, 404, "text/html", "No such trace here"},
		{"GET", "/trace/xyz", 400, "text/html", "Not a trace id"},
		{"POST", "/", 405, "text/plain", "only GET and HEAD"},
		{"DELETE", "/api/traces", 405, "application/json", `{"error":"only GET and HEAD are answered here"}`},
		{"GET", "/healthz", 200, "text/plain", "ok"},
		{"GET", "/readyz", 200, "text/plain", "ready"},
		{"GET", "/metrics", 200, "text/plain", "spans_total 1"},
		{"GET", "/api/nowhere", 404, "application/json", `{"error":"no such route: /api/nowhere"}`},
		{"GET", "/api/stats", 200, "application/json", `{"received":{"spans":10000,"traces":1000,"logs":2000},` +
			`"kept":{"spans":1300,"traces":130,"logs":260},"dropped":{"spans":8000,"traces":800,"logs":1600},` +
			`"deadlettered":{"spans":10,"traces":1,"logs":2},"returned":{"spans":40,"traces":4,"logs":8},` +
			`"duplicate":{"spans":50,"traces":5,"logs":10},"in_flight":{"spans":600,"traces":60,"logs":120},` +
			`"by_policy":{"(no policy matched)":{"kept":{"spans":0,"traces":0,"logs":0},"dropped":{"spans":7980,"traces":798,"logs":1596}},` +
			`"errors":{"kept":{"spans":300,"traces":30,"logs":60},"dropped":{"spans":0,"traces":0,"logs":0}},` +
			`"rest":{"kept":{"spans":1000,"traces":100,"logs":200},"dropped":{"spans":20,"traces":2,"logs":4}}},` +
			`"window":{"traces":60,"bytes":1048576,"max_traces":100,"max_bytes":8388608,"watermark_lag_ms":740},` +
			`"held":{"messages":12,"bytes":3145728,"max_bytes":67108864,"redelivered":7},"fleet":{"mode":"off"},` +
			`"exporters":[{"name":"otlp","failing":"","attempts":8,"failed":0,"running":1,"limit":8,"most":8,"round_trip_ms":41,"refused":0,"shortened":0,"pending":0,"max_pending":0,"lost":0}],"exporting":2,"uptime_ms":61000,"unnamed":0,"ready":true}`},
		{"GET", "/api/traces", 200, "application/json", `{"traces":[` +
			`{"trace_id":"` + hostileID + `","root":"\u003cscript\u003ealert(1)\u003c/script\u003e","service":"\"\u003e\u003cimg src=x\u003e","spans":1,"duration_ms":1.235,"error":false,"policy":"rest","reason":"idle"},` +
			`{"trace_id":"` + checkoutID + `","root":"GET /checkout","service":"shop","spans":3,"duration_ms":250,"error":true,"policy":"errors","reason":"settled"}]}`},
		{"GET", "/api/traces?limit=0", 400, "application/json", `{"error":"limit \"0\": want a whole number above 0"}`},
		{"GET", "/api/traces?limit=", 400, "application/json", `{"error":"limit \"\": want a whole number above 0"}`},
		{"GET", "/api/traces?limit=1e3", 400, "application/json", `{"error":"limit \"1e3\": want a whole number above 0"}`},
		{"GET", "/api/traces/" + unknownID, 404, "application/json", `{"error":"trace ` + unknownID + `: not among the kept traces"}`},
		{"GET", "/api/traces/12", 400, "application/json", `{"error":"trace id \"12\": want 32 hex digits"}`},
		{"GET", "/api/traces/12/logs", 400, "application/json", `{"error":"trace id \"12\": want 32 hex digits"}`},
	} {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			w := ask(t, c, tt.method, tt.path, "localhost:8080")
			if w.Code != tt.code || !strings.HasPrefix(w.Header().Get("Content-Type"), tt.contentType) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Header().Get("Content-Type"), tt.code, tt.contentType)
			}
			body := strings.TrimSuffix(w.Body.String(), "\n")
			if tt.contentType == "application/json" {
				if diff := cmp.Diff(tt.want, body); diff != "" {
					t.Errorf("body (-want +got):\n%s", diff)
				}
			} else if !strings.Contains(body, tt.want) {
				t.Errorf("body lacks %q:\n%s", tt.want, body)
			}
			if tt.code == 405 && w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow: %q", w.Header().Get("Allow"))
			}
		})
	}
}

func TestTracesLimit(t *testing.T) {
	c := console.New(example(t), console.Config{})
	var got struct{ Traces []map[string]any }
	w := ask(t, c, "GET", "/api/traces?limit=1", "localhost")
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Traces) != 1 || got.Traces[0]["trace_id"] != hostileID {
		t.Errorf("limit=1: %v %s", err, w.Body)
	}
	for _, limit := range []string{"2", "99999999"} {
		w = ask(t, c, "GET", "/api/traces?limit="+limit, "localhost")
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Traces) != 2 {
			t.Errorf("limit=%s: %v %s", limit, err, w.Body)
		}
	}
}

func TestNothingYet(t *testing.T) {
	c := console.New(&memory{}, console.Config{Endpoints: []string{"export OTEL_A=<one>", "export OTEL_B=two"}})
	page := ask(t, c, "GET", "/", "localhost").Body.String()
	for _, want := range []string{`id="first-visit"`, "export OTEL_A=&lt;one&gt;\nexport OTEL_B=two", "not ready", "No trace was kept yet"} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	if got := ask(t, c, "GET", "/api/traces", "localhost").Body.String(); got != "{\"traces\":[]}\n" {
		t.Errorf("traces: %s", got)
	}
	if got := ask(t, c, "GET", "/api/stats", "localhost").Body.String(); !strings.Contains(got, `"by_policy":{}`) {
		t.Errorf("stats: %s", got)
	}
	if w := ask(t, c, "GET", "/readyz", "localhost"); w.Code != 503 {
		t.Errorf("readyz: %d", w.Code)
	}
	if w := ask(t, c, "GET", "/healthz", "localhost"); w.Code != 200 {
		t.Errorf("healthz: %d", w.Code)
	}
	if w := ask(t, c, "GET", "/metrics", "localhost"); w.Code != 404 {
		t.Errorf("metrics without a handler: %d", w.Code)
	}
}

func TestOverview(t *testing.T) {
	source := example(t)
	c := console.New(source, console.Config{})
	page := ask(t, c, "GET", "/", "localhost").Body.String()
	for _, want := range []string{
		"10,000", "1,300", "(no policy matched)", "1.0 MiB", "740 ms", ">due<", ">4.0 s<", "and 58 more",
		`<a href="/trace/` + checkoutID + `">GET /checkout</a> <span class="pill bad">error</span>`,
		`<noscript><meta http-equiv="refresh" content="2"></noscript>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	for _, not := range []string{`id="first-visit"`, `id="open-balance"`, `id="unnamed"`, `href="/metrics"`, "ZgotmplZ"} {
		if strings.Contains(page, not) {
			t.Errorf("page has %q", not)
		}
	}
	source.stats.Unnamed = 1234
	if page := ask(t, c, "GET", "/", "localhost").Body.String(); !strings.Contains(page, "<b>1,234</b> spans and log records without service.name") {
		t.Error("page does not tell that apps have no names")
	}
	source.stats.Dropped.Spans -= 3
	if page := ask(t, c, "GET", "/", "localhost").Body.String(); !strings.Contains(page, "3 spans, 0 traces, 0 log records unaccounted for") {
		t.Error("page does not tell that the counters do not add up")
	}
}

func TestExporters(t *testing.T) {
	source := example(t)
	for name, tt := range map[string]struct {
		e    console.Exporter
		want []string
	}{
		"works":    {console.Exporter{Name: "telemetry", Attempts: 1200, Failed: 3, Running: 1, Limit: 32, Most: 32, RoundTripMS: 41}, []string{">telemetry<", `pill ok">works<`, ">1,200<", ">1 of 32<", "41.0 ms<"}},
		"fails":    {console.Exporter{Name: "cloudlogging", Failing: "logging: NOT_FOUND: <b>", Attempts: 9, Failed: 9, Limit: 8, Most: 8, Refused: 5}, []string{`pill bad">fails<`, `colspan="9">logging: NOT_FOUND: &lt;b&gt;<`, `n bad">5<`, `n">–</td></tr>`}},
		"slowed":   {console.Exporter{Name: "otlp", Attempts: 9, Limit: 2, Most: 8}, []string{"slowed to the backend&#39;s pace", ">0 of 2<"}},
		"idle":     {console.Exporter{Name: "otlp", Limit: 8, Most: 8}, []string{"nothing sent yet"}},
		"optional": {console.Exporter{Name: "otlp", Attempts: 1, Limit: 8, Most: 8, Pending: 3 << 20, MaxPending: 64 << 20, Lost: 17}, []string{"3.0 MiB of 64.0 MiB", `n bad">17<`}},
	} {
		source.stats.Exporters = []console.Exporter{tt.e}
		page := ask(t, console.New(source, console.Config{}), "GET", "/", "localhost").Body.String()
		for _, want := range tt.want {
			if !strings.Contains(page, want) {
				t.Errorf("%s: page lacks %q", name, want)
			}
		}
	}
	source.stats.Exporters = nil
	if strings.Contains(ask(t, console.New(source, console.Config{}), "GET", "/", "localhost").Body.String(), `id="exporters"`) {
		t.Error("exporters are shown where there are none")
	}
}

func TestEscaping(t *testing.T) {
	c := console.New(example(t), console.Config{})
	for _, path := range []string{"/", "/trace/" + hostileID, "/trace/%3Cscript%3Ealert(4)%3C%2Fscript%3E", "/%3Cscript%3Ealert(5)"} {
		page := ask(t, c, "GET", path, "localhost").Body.String()
		if strings.Contains(page, "<script>alert") || strings.Contains(page, "<img") || strings.Contains(page, "<b>span") {
			t.Errorf("%s: unescaped:\n%s", path, page)
		}
		if !strings.Contains(page, "&lt;script&gt;alert(") {
			t.Errorf("%s: the text is not shown", path)
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	c := console.New(example(t), console.Config{})
	for _, path := range []string{"/", "/trace/" + checkoutID, "/api/stats", "/healthz", "/nowhere"} {
		w := ask(t, c, "GET", path, "localhost")
		for key, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
		} {
			if got := w.Header().Get(key); got != want {
				t.Errorf("%s: %s: %q, want %q", path, key, got, want)
			}
		}
		csp := w.Header().Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if strings.Contains(w.Body.String(), " style=") || strings.Contains(w.Body.String(), " onclick=") {
			t.Errorf("%s: has what its own policy forbids", path)
		}
	}
}

func TestHost(t *testing.T) {
	c := console.New(example(t), console.Config{AllowedHosts: []string{"Box.internal", "[fd00::1]"}})
	loopback := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}
	remote := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 8080}
	for _, tt := range []struct {
		host, path string
		local      net.Addr
		code       int
	}{
		{"localhost", "/", loopback, 200},
		{"LOCALHOST.:8080", "/", loopback, 200},
		{"127.0.0.1:8080", "/api/stats", loopback, 200},
		{"[::1]:8080", "/", loopback, 200},
		{"[::1]", "/", loopback, 200},
		{"box.internal:99", "/", loopback, 200},
		{"[fd00::1]:99", "/", loopback, 200},
		{"evil.example", "/", loopback, 403},
		{"evil.example:8080", "/api/traces", loopback, 403},
		{"localhost.evil.example", "/", loopback, 403},
		{"", "/", loopback, 403},
		{"evil.example", "/", nil, 403},
		{"evil.example", "/metrics", loopback, 403},
		{"evil.example", "/healthz", loopback, 200},
		{"evil.example", "/readyz", loopback, 200},
		{"console.example", "/", remote, 200},
	} {
		r := httptest.NewRequest("GET", tt.path, nil)
		r.Host = tt.host
		if tt.local != nil {
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, tt.local))
		}
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != tt.code {
			t.Errorf("host %q path %s on %v: %d, want %d", tt.host, tt.path, tt.local, w.Code, tt.code)
		}
	}
}

func TestValidate(t *testing.T) {
	good := console.Config{AllowedHosts: []string{"a.example", "10.0.0.1", "[::1]", "fd00::1"}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	err := console.Config{AllowedHosts: []string{"http://a.example", "a.example:80", "ok", ""}}.Validate()
	if err == nil || strings.Count(err.Error(), "want a host name") != 3 {
		t.Errorf("got %v, want three faults", err)
	}
}
