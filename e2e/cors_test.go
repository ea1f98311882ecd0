package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
)

// page sends one span by fetch, as JSON and with a key, which makes the browser ask before; then it writes what became of it.
const page = `<!doctype html><title>an app</title><p id="said">waiting</p><script>
fetch(%q, {
	method: "POST",
	headers: {"content-type": "application/json", "x-api-key": "none", "traceparent": "00-5b8efff798038103d269b633813fc60c-eee19b7ec3c1b174-01"},
	body: JSON.stringify({resourceSpans: [{resource: {attributes: [{key: "service.name", value: {stringValue: "page"}}]}, scopeSpans: [{spans: [{
		traceId: "5B8EFFF798038103D269B633813FC60C", spanId: "EEE19B7EC3C1B174", name: "click", kind: 3,
		startTimeUnixNano: String(Date.now() * 1e6), endTimeUnixNano: String(Date.now() * 1e6 + 5e6), status: {code: 2},
	}]}]}]}),
}).then(async (answer) => { document.getElementById("said").textContent = answer.status + " " + await answer.text(); },
	(why) => { document.getElementById("said").textContent = "refused: " + why; });
</script>`

// TestCORS opens an app's page in a browser, from an origin that is allowed and from one that is not, and wants the span of the first
// alone. The browser asks with a preflight both times: neither the content type nor the key can be sent without one.
func TestCORS(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	var otlp string
	serve := func() *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, page, otlp+"/v1/traces")
		}))
		t.Cleanup(s.Close)
		return s
	}
	app, other := serve(), serve()
	l := startLocal(t, "--cors-origins", app.URL)
	otlp = l.otlp

	said := func(s *httptest.Server) string {
		dom := b.dom(s.URL + "/")
		m := regexp.MustCompile(`id="said">([^<]*)<`).FindStringSubmatch(dom)
		if m == nil {
			t.Fatalf("no such page:\n%s", dom)
		}
		return m[1]
	}
	if got, want := said(other), "refused: TypeError: Failed to fetch"; got != want {
		t.Errorf("another page: %q, want %q", got, want)
	}
	if n := l.stats().Received.Spans; n != 0 {
		t.Errorf("%d spans of another page are stored", n)
	}
	if got, want := said(app), "200 {}"; got != want {
		t.Errorf("the allowed page: %q, want %q", got, want)
	}
	l.settled(counts{Spans: 1})
	if k, ok := l.traces()["5b8efff798038103d269b633813fc60c"]; !ok || k.Root != "click" || k.Service != "page" {
		t.Errorf("kept %+v", l.traces())
	}
}
