package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

// TestConsole opens the console in a browser after some traffic, and looks for what a person would look for.
func TestConsole(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	l := startLocal(t)
	if page := b.dom(l.console + "/"); !strings.Contains(page, "Waiting for the first spans") || !strings.Contains(page, l.otlp) {
		t.Errorf("the first visit does not say where to send spans:\n%s", page)
	}
	sent := newApp(t, l.otlp, "http/protobuf", "shop").traffic(t, 40)
	s := l.settled(countsOf(sent))
	failed := ofKind(sent, "error")

	page := b.dom(l.console + "/")
	for what, want := range map[string]string{
		"spans received":     fmt.Sprintf("<b>%d</b> spans", s.Received.Spans),
		"log records":        fmt.Sprintf("<b>%d</b> log records", s.Received.Logs),
		"policy errors":      "<td>errors</td>",
		"policy slow":        "<td>slow</td>",
		"link to the error":  `<a href="/trace/` + failed + `">POST /checkout</a> <span class="pill bad">error</span>`,
		"root's service":     "</i>shop</td>",
		"kept by":            `<span class="pill">slow</span>`,
		"decided when":       "settled",
		"the worker's state": ">ready<",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("overview: %s: lacks %q", what, want)
		}
	}
	for id, policy := range expected(t, sent) {
		if !strings.Contains(page, `href="/trace/`+id+`"`) || !strings.Contains(page, "<td>"+policy+"</td>") {
			t.Errorf("overview: lacks trace %s of policy %s", id, policy)
		}
	}
	if strings.Contains(page, "unaccounted") {
		t.Error("overview: the counters do not add up")
	}
	if t.Failed() {
		t.Log(page)
	}
	checkWaterfall(t, b, l, page, failed)
	checkRefresh(t, b, l)
	if file := os.Getenv("TAILWEIR_E2E_SCREENSHOT"); file != "" {
		b.screenshot(l.console+"/", file)
	}
}

// checkWaterfall follows the link of the overview to one trace.
func checkWaterfall(t *testing.T, b *browser, l *local, overview, id string) {
	link := regexp.MustCompile(`href="(/trace/` + id + `)"`).FindStringSubmatch(overview)
	if link == nil {
		t.Fatalf("the overview has no link to trace %s", id)
	}
	page := b.dom(l.console + link[1])
	for _, want := range []string{
		"POST /checkout", "SELECT carts", "call payments", "charge card", // the spans
		"shop payments",                             // the other service
		"charging the card, error checkout", "WARN", // the log record
		"card refused", "cart.kind", // what one opens a span for
		`>errors</span>`, id,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("waterfall lacks %q", want)
		}
	}
	if bars := strings.Count(page, `class="lane"`); bars != spansPerCheckout+1 {
		t.Errorf("waterfall has %d rows, want %d: the spans and a log record", bars, spansPerCheckout+1)
	}
	if t.Failed() {
		t.Log(page)
	}
}

// checkRefresh wants an open page to ask again every 2 s: it is opened for 5 s.
func checkRefresh(t *testing.T, b *browser, l *local) {
	target, err := url.Parse(l.console)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	relay := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		relay.ServeHTTP(w, r)
	}))
	defer server.Close()
	if page := b.dom(server.URL + "/"); strings.Contains(page, `class="stale"`) {
		t.Error("the page says that the worker does not answer")
	}
	if n := asked.Load(); n < 2 || n > 4 {
		t.Errorf("the browser asked %d times for the page, want 3: it does not refresh itself as it should", n)
	}
}

// browser is headless Chromium with a profile of its own.
type browser struct {
	t       *testing.T
	program string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	return &browser{t, need(t, "apt-get install chromium", "chromium", "chromium-browser", "google-chrome")}
}

func (b *browser) run(args ...string) string {
	b.t.Helper()
	p := start(b.t, nil, b.program, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1440,1400", "--user-data-dir=" + b.profile(),
	}, args...)...)
	p.finish(patience)
	return p.out.String()
}

// profile is a directory that may still be written to while the browser's helpers end.
func (b *browser) profile() string {
	b.t.Helper()
	dir, err := os.MkdirTemp("", "tailweir-e2e-browser-")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		await(b.t, "the browser's profile is removed", func() string { return errorText(os.RemoveAll(dir)) })
	})
	return dir
}

// dom is the page as the browser has it after its script has redrawn it twice, 2 s apart.
func (b *browser) dom(address string) string {
	b.t.Helper()
	return b.run("--virtual-time-budget=5000", "--dump-dom", address)
}

func (b *browser) screenshot(address, file string) {
	b.t.Helper()
	file, err := filepath.Abs(file)
	if err != nil {
		b.t.Fatal(err)
	}
	b.run("--virtual-time-budget=5000", "--screenshot="+file, address)
	if info, err := os.Stat(file); err != nil || info.Size() < 10_000 {
		b.t.Errorf("no picture in %s: %v", file, err)
	}
}
