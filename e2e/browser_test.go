package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// TestBrowserSDK opens a page with the SDK for browsers in Chromium. The page is of another origin than the ingest, so the browser
// asks by CORS; the server of the page takes the trace on to the ingest's other clients as traceparent.
func TestBrowserSDK(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	dir := nodePackages(t)
	bundle := filepath.Join(t.TempDir(), "page.js")
	startIn(t, dir, "node", "node_modules/esbuild/bin/esbuild", "browser.js", "--bundle", "--log-level=warning", "--outfile="+bundle).finish(fetchTime)

	asked := make(chan string, 10)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>shop</title><body><script src="page.js"></script></body>`)
	})
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, bundle) })
	mux.HandleFunc("GET /order/fast", func(w http.ResponseWriter, r *http.Request) { asked <- r.Header.Get("traceparent") })
	page := httptest.NewServer(mux)
	defer page.Close()

	file := filepath.Join(t.TempDir(), "keys.yaml")
	key := newKey(t, file, "--name", "e2e")
	l, backend := keepAll(t, "--keys", file, "--cors-origins", page.URL)
	open := func(address string) (trace string) {
		t.Helper()
		dom := b.run("--virtual-time-budget=20000", "--dump-dom", address+"/?"+url.Values{"ingest": {l.otlp}, "key": {key}}.Encode())
		found := regexp.MustCompile(`data-trace="([0-9a-f]{32})"`).FindStringSubmatch(dom)
		if found == nil {
			t.Fatalf("the page did not get to its end:\n%s", dom)
		}
		return found[1]
	}
	trace := open(page.URL)
	var got trail
	want := []string{"GET", "click on buy"}
	await(t, "the page's trace is at the backend", func() string {
		if got = backend.trail(trace); len(got.spans) < len(want) {
			return fmt.Sprintf("spans %q", got.names())
		}
		return ""
	})
	if diff := cmp.Diff(want, got.names()); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	for _, span := range got.spans {
		if span.resource["service.name"] != "page" || span.resource["telemetry.sdk.language"] != "webjs" {
			t.Errorf("resource %v", span.resource)
		}
		if span.Kind() == ptrace.SpanKindClient {
			if parent := fmt.Sprintf("00-%s-%s-01", trace, span.SpanID()); parent != <-asked {
				t.Errorf("the page's server was not asked with traceparent %s", parent)
			}
		}
	}

	// From an origin that is not allowed the browser sends nothing.
	other := httptest.NewServer(mux)
	defer other.Close()
	before := l.stats().Received
	stranger := open(other.URL)
	if got := backend.trail(stranger); len(got.spans) > 0 || l.stats().Received != before {
		t.Errorf("from a page that is not allowed there are %d spans, received %+v, before %+v", len(got.spans), l.stats().Received, before)
	}
}
