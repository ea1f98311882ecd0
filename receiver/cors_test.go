package receiver

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/otlp"
)

func TestOrigins(t *testing.T) {
	tests := []struct {
		allowed string
		yes, no []string
	}{
		{"https://shop.example.com", []string{"https://shop.example.com"}, []string{
			"http://shop.example.com", "https://shop.example.com:8443", "https://shop.example.com.evil.example", "https://a.shop.example.com",
			"https://evil.example/https://shop.example.com", "HTTPS://shop.example.com", "null", "https://shop.example.com/", "shop.example.com"}},
		{"https://Shop.example.com:443", []string{"https://shop.example.com"}, []string{"https://shop.example.com:443"}},
		{"https://*.example.com", []string{"https://a.example.com", "https://a.b.example.com"}, []string{
			"https://example.com", "https://.example.com", "https://aexample.com", "https://a.example.com.evil.example", "http://a.example.com",
			"https://evil.example/.example.com", "https://evil.example#.example.com", "https://evil.example?.example.com",
			"https://user@a.example.com", "https://a.example.com:8443", "https://a..example.com", "https://a b.example.com", "https://a.example.com\n"}},
		{"http://localhost:*", []string{"http://localhost", "http://localhost:3000", "http://localhost:65535"}, []string{
			"http://localhost:", "http://localhost:0", "http://localhost:65536", "http://localhost:3000.evil.example", "https://localhost:3000", "http://a.localhost:3000"}},
		{"http://*.dev.example:*", []string{"http://a.dev.example:1"}, []string{"http://dev.example:1"}},
		{"http://[::1]:*", []string{"http://[::1]:3000"}, []string{"http://[::1", "http://[::2]:3000", "http://::1:3000"}},
		{"capacitor://localhost", []string{"capacitor://localhost"}, []string{"http://localhost"}},
	}
	for _, test := range tests {
		k, err := newCORS(CORS{AllowedOrigins: []string{"https://other.example", test.allowed}})
		if err != nil {
			t.Errorf("%s: %v", test.allowed, err)
			continue
		}
		for _, o := range test.yes {
			if !k.lists(o) {
				t.Errorf("%s does not allow %q", test.allowed, o)
			}
		}
		for _, o := range test.no {
			if k.lists(o) {
				t.Errorf("%s allows %q", test.allowed, o)
			}
		}
	}
	for _, bad := range []string{"", "example.com", "https://", "https://*", "https://a.*.example.com", "https://*.*.example.com", "https://a/b", "https://a/",
		"https://a:x", "https://a:", "https://a:**", "https://u@a", "https://*.", "https://.a", "null", "https://ä.example", "https://[::1"} {
		if err := (CORS{AllowedOrigins: []string{bad}}).Validate(); err == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
}

// preflight asks as a browser does before a script may send.
func preflight(t *testing.T, addr, path, origin string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodOptions, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"content-type,x-api-key"}}
	resp, err := httpClient(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// corsOf are the headers that CORS is about.
func corsOf(h http.Header) map[string]string {
	out := map[string]string{}
	for k := range h {
		if short, ok := strings.CutPrefix(k, "Access-Control-"); ok || k == "Vary" {
			out[short] = h.Get(k)
		}
	}
	return out
}

const shopOrigin = "https://shop.example.com"

// TestPreflight wants a preflight answered without a key, whatever the gate says, and nobody else allowed.
func TestPreflight(t *testing.T) {
	named := map[string]string{"Allow-Origin": shopOrigin, "Allow-Credentials": "true", "Allow-Methods": "POST", "Max-Age": "7200",
		"Allow-Headers": corsHeaders + ", x-tenant", "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
	all := map[string]string{"Allow-Origin": "*", "Allow-Methods": "POST", "Max-Age": "60", "Allow-Headers": corsHeaders, "Vary": named["Vary"]}
	none := map[string]string{"Vary": named["Vary"]}
	cfg := CORS{AllowedOrigins: []string{shopOrigin}, AllowedHeaders: []string{"X-Tenant"}}
	anybody := CORS{AllowedOrigins: []string{"*"}, MaxAge: time.Minute}
	tests := []struct {
		name   string
		cors   CORS
		origin string
		status int
		want   map[string]string
	}{
		{"named", cfg, shopOrigin, 204, named},
		{"another", cfg, "https://evil.example", 403, none},
		{"null", cfg, "null", 403, none},
		{"anybody", anybody, shopOrigin, 204, all},
		{"named beside anybody", CORS{AllowedOrigins: []string{"*", shopOrigin}, AllowedHeaders: []string{"x-tenant"}}, shopOrigin, 204, named},
		{"off", CORS{}, shopOrigin, 405, map[string]string{}},
	}
	for _, test := range tests {
		_, addr := open(t, new(shelf), Config{CORS: test.cors, Gate: closed{}})
		for _, path := range []string{"/v1/traces", "/v1/logs", pathOf(otlp.Traces, grpcSignals)} {
			resp := preflight(t, addr, path, test.origin)
			want := test.status
			if want == 405 && path != "/v1/traces" && path != "/v1/logs" {
				want = 404
			}
			if resp.StatusCode != want {
				t.Errorf("%s %s: status %d, want %d", test.name, path, resp.StatusCode, want)
			}
			if diff := cmp.Diff(test.want, corsOf(resp.Header)); diff != "" {
				t.Errorf("%s %s: headers (-want +got):\n%s", test.name, path, diff)
			}
		}
	}
}

// closed is a Gate that nobody passes.
type closed struct{}

func (closed) Admit(*http.Request) (Caller, *Denial) {
	return Caller{}, &Denial{Reason: Missing, Text: "show a key"}
}

// TestCORSOfAnswers wants the script of an allowed page to be able to read every answer, refusals of all kinds included, and the
// headers on none for another page or no page.
func TestCORSOfAnswers(t *testing.T) {
	body := encoded(t, recordsOf(1, 10))
	allowed := map[string]string{"Allow-Origin": shopOrigin, "Allow-Credentials": "true", "Expose-Headers": corsExposed, "Vary": "Origin"}
	tests := []struct {
		name, method, path, origin string
		gate                       Gate
		body                       []byte
		status                     int
		want                       map[string]string
	}{
		{"stored", "POST", "/v1/logs", shopOrigin, nil, body, 200, allowed},
		{"malformed", "POST", "/v1/logs", shopOrigin, nil, []byte{0xff}, 400, allowed},
		{"no key", "POST", "/v1/logs", shopOrigin, closed{}, body, 401, allowed},
		{"no such path", "POST", "/v1/log", shopOrigin, nil, body, 404, allowed},
		{"OPTIONS that is no preflight", "OPTIONS", "/v1/logs", shopOrigin, nil, nil, 405, allowed},
		{"the ingest's own page behind a proxy", "POST", "/v1/logs", "https://other.example", nil, body, 200, map[string]string{"Vary": "Origin"}},
		{"no page", "POST", "/v1/logs", "", nil, body, 200, map[string]string{}},
	}
	for _, test := range tests {
		_, addr := open(t, new(shelf), Config{CORS: CORS{AllowedOrigins: []string{shopOrigin}}, Gate: test.gate})
		req, _ := http.NewRequest(test.method, "http://"+addr+test.path, bytes.NewReader(test.body))
		req.Header.Set("Content-Type", contentTypes[Protobuf])
		if test.origin != "" {
			req.Header.Set("Origin", test.origin)
		}
		resp, err := httpClient(t, false).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.status {
			t.Errorf("%s: status %d, want %d", test.name, resp.StatusCode, test.status)
		}
		if diff := cmp.Diff(test.want, corsOf(resp.Header)); diff != "" {
			t.Errorf("%s: headers (-want +got):\n%s", test.name, diff)
		}
	}
}

// FuzzOrigins wants no origin allowed by a pattern but those of its scheme and its hosts.
func FuzzOrigins(f *testing.F) {
	f.Add("https://*.example.com", "https://a.example.com")
	f.Add("http://localhost:*", "http://localhost:3000")
	f.Add("https://*.example.com:*", "https://evil.example/@a.example.com:1")
	f.Add("http://[::1]:*", "http://[::1]:80")
	f.Fuzz(func(t *testing.T, pattern, origin string) {
		k, err := newCORS(CORS{AllowedOrigins: []string{pattern}})
		if err != nil || k.any || !k.lists(origin) {
			return
		}
		u, err := url.Parse(origin)
		if err != nil || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.Host == "" {
			t.Fatalf("%q allows %q, which is no origin: %v", pattern, origin, err)
		}
		p, _ := parseOrigin(pattern)
		if u.Scheme+"://" != p.scheme {
			t.Fatalf("%q allows %q of another scheme", pattern, origin)
		}
		if host := strings.TrimSuffix(u.Host, ":"+u.Port()); host != p.host && !(p.subdomains && strings.HasSuffix(host, p.host) && host != p.host) {
			t.Fatalf("%q allows %q of another host", pattern, origin)
		}
		if !p.anyPort && ":"+u.Port() != p.port && p.port != "" {
			t.Fatalf("%q allows %q of another port", pattern, origin)
		}
	})
}
