package auth

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var quiet = slog.New(slog.DiscardHandler)

// keysFile writes a file of keys and returns its path.
func keysFile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.yaml")
	write(t, file, text)
	return file
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// entry is a key in a file, with further lines.
func entry(name, key string, more ...string) string {
	return fmt.Sprintf("- name: %s\n  hash: %s\n", name, HashOf(key)) + strings.Join(more, "")
}

func openKeys(t testing.TB, text string) *Gate {
	t.Helper()
	g, err := Open(Config{Keys: keysFile(t, text), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// with is a request with headers, of an address.
func with(peer string, headers ...string) *http.Request {
	req := httptest.NewRequest("POST", "/v1/traces", nil)
	req.RemoteAddr = peer + ":4711"
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

const nobody = Reason(255)

// asked is the reason of the denial, nobody for none.
func asked(g *Gate, req *http.Request) Reason {
	if _, d := g.Admit(req); d != nil {
		return d.Reason
	}
	return nobody
}

func TestKeysInHeaders(t *testing.T) {
	shop, old := NewKey(), NewKey()
	g := openKeys(t, entry("shop", shop, "  attributes: {tenant: acme}\n")+entry("old", old, "  until: 2020-01-01\n"))
	for _, tt := range []struct {
		name    string
		headers []string
		want    Reason
	}{
		{"x-api-key", []string{"x-api-key", shop}, nobody},
		{"bearer", []string{"Authorization", "Bearer " + shop}, nobody},
		{"bearer in lower case, with spaces", []string{"authorization", "  bearer   " + shop + " "}, nobody},
		{"x-api-key with spaces", []string{"x-api-key", " " + shop + " "}, nobody},
		{"x-api-key, and what belongs to somebody in front", []string{"x-api-key", shop, "Authorization", "Bearer e.y.J"}, nobody},
		{"nothing", nil, Missing},
		{"an empty key", []string{"x-api-key", ""}, Missing},
		{"an empty token", []string{"Authorization", "Bearer "}, Missing},
		{"an empty header", []string{"Authorization", ""}, Missing},
		{"another key", []string{"x-api-key", NewKey()}, Unknown},
		{"a wrong key before a good one", []string{"x-api-key", NewKey(), "Authorization", "Bearer " + shop}, Unknown},
		{"a part of a key", []string{"x-api-key", shop[:len(shop)-1]}, Unknown},
		{"a key with more behind it", []string{"x-api-key", shop + "a"}, Unknown},
		{"a key in upper case", []string{"x-api-key", strings.ToUpper(shop)}, Unknown},
		{"a hash", []string{"x-api-key", HashOf(shop)}, Unknown},
		{"a key without its scheme", []string{"Authorization", shop}, Unknown},
		{"another scheme", []string{"Authorization", "Basic " + shop}, Unknown},
		{"percent signs that nobody decoded", []string{"Authorization", "Bearer%20" + shop}, nobody},
		{"an expired key", []string{"x-api-key", old}, Unknown},
		{"a token, though none is taken", []string{"Authorization", "Bearer e.y.J"}, Unknown},
	} {
		c, d := g.Admit(with("192.0.2.1", tt.headers...))
		switch {
		case d == nil && tt.want == nobody:
			if c.Name != "shop" || len(c.Stamp) == 0 {
				t.Errorf("%s: admitted as %q with a stamp of %d bytes", tt.name, c.Name, len(c.Stamp))
			}
		case d == nil || d.Reason != tt.want:
			t.Errorf("%s: %+v, want reason %d", tt.name, d, tt.want)
		case d.Reason == Unknown && d.Text != unknownText:
			t.Errorf("%s: the sender is told %q", tt.name, d.Text)
		case strings.Contains(fmt.Sprint(d.Text, d.Cause), shop[:20]):
			t.Errorf("%s: the key is in %+v", tt.name, d)
		}
	}
}

// Who is refused too often is answered so before anything is looked at; who has a key is admitted from the same address all the same.
func TestRefusalsAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := NewKey()
		g := openKeys(t, entry("shop", key))
		guess := func(peer string) Reason { return asked(g, with(peer, "x-api-key", NewKey())) }
		for range refusedBurst {
			if r := guess("192.0.2.1"); r != Unknown {
				t.Fatalf("reason %d, want unknown", r)
			}
		}
		_, d := g.Admit(with("192.0.2.1", "x-api-key", NewKey()))
		if d.Reason != Throttled || d.RetryAfter <= 0 || strings.Contains(d.Text, "valid") {
			t.Errorf("%+v, want throttled", d)
		}
		for what, got := range map[string]Reason{
			"a good key":      asked(g, with("192.0.2.1", "x-api-key", key)),
			"another peer":    guess("192.0.2.2") + 1,
			"without any key": asked(g, with("192.0.2.1")) + 2,
		} {
			if want := map[string]Reason{"a good key": nobody, "another peer": Unknown + 1, "without any key": Missing + 2}[what]; got != want {
				t.Errorf("%s: reason %d, want %d", what, got, want)
			}
		}
		time.Sleep(2 * time.Second)
		if r := guess("192.0.2.1"); r != Unknown {
			t.Errorf("after a while: reason %d, want unknown", r)
		}
	})
}

func TestPeersAreBounded(t *testing.T) {
	p := newPeers()
	for i := range 3 * mostPeers {
		p.refused(with(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)))
	}
	if n := p.seen.Len(); n != mostPeers {
		t.Errorf("%d peers are remembered, want %d", n, mostPeers)
	}
}

func TestPeerOf(t *testing.T) {
	for _, tt := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:9", "", "192.0.2.1/32"},
		{"192.0.2.1:9", "198.51.100.7", "192.0.2.1/32"},
		{"169.254.1.1:9", "10.1.1.1, 198.51.100.7", "198.51.100.7/32"},
		{"10.0.0.9:9", "198.51.100.7", "198.51.100.7/32"},
		{"10.0.0.9:9", "rubbish", "10.0.0.9/32"},
		{"[::1]:9", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:9", "", "fe80::/64"},
		{"[::ffff:192.0.2.1]:9", "", "192.0.2.1/32"},
		{"@", "", "invalid Prefix"},
	} {
		req := httptest.NewRequest("POST", "/", nil)
		req.RemoteAddr = tt.remote
		if tt.forwarded != "" {
			req.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := peerOf(req).String(); got != tt.want {
			t.Errorf("%s, forwarded %q: %s, want %s", tt.remote, tt.forwarded, got, tt.want)
		}
	}
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, wide := NewKey(), NewKey()
		g := openKeys(t, entry("slow", slow, "  limit: {requests: 2}\n")+entry("wide", wide, "  limit: {bytes: 1000}\n"))
		admitted := 0
		for asked(g, with("192.0.2.1", "x-api-key", slow)) == nobody {
			admitted++
		}
		if admitted != 2*limitSpan {
			t.Errorf("%d requests at once, want %d", admitted, 2*limitSpan)
		}
		c, d := g.Admit(with("192.0.2.1", "x-api-key", slow))
		if d.Reason != Throttled || d.RetryAfter != 500*time.Millisecond || c.Name != "slow" {
			t.Errorf("over the limit: %+v of %+v", d, c)
		}
		time.Sleep(d.RetryAfter)
		if r := asked(g, with("192.0.2.1", "x-api-key", slow)); r != nobody {
			t.Errorf("after the wait: reason %d", r)
		}
		// Bytes are known when they were read: 35 s' worth goes through, and what comes then waits for 25.
		c, _ = g.Admit(with("192.0.2.1", "x-api-key", wide))
		c.Sent(35_000)
		if _, d = g.Admit(with("192.0.2.1", "x-api-key", wide)); d == nil || d.Reason != Throttled || d.RetryAfter != 25*time.Second {
			t.Fatalf("over the bytes: %+v", d)
		}
		time.Sleep(d.RetryAfter)
		if r := asked(g, with("192.0.2.1", "x-api-key", wide)); r != nobody {
			t.Errorf("after the wait for bytes: reason %d", r)
		}
		want := Stats{Keys: []KeyStats{{Name: "slow", Requests: 2*limitSpan + 1, Limited: 2}, {Name: "wide", Requests: 2, Limited: 1, Bytes: 35_000}}}
		if diff := cmp.Diff(want, g.Stats()); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
	})
}

func TestOpenNeedsSomething(t *testing.T) {
	for name, cfg := range map[string]Config{
		"nothing":          {},
		"no such file":     {Keys: filepath.Join(t.TempDir(), "none.yaml")},
		"no keys":          {Keys: keysFile(t, "# none\n")},
		"no audience":      {Google: &Google{Accounts: []string{"a@b"}}},
		"nobody may":       {Google: &Google{Audiences: []string{"https://x"}}},
		"a broken file":    {Keys: keysFile(t, "- {name: shop")},
		"too large a file": {Keys: keysFile(t, strings.Repeat("#", mostKeysBytes+1))},
	} {
		if _, err := Open(cfg); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// FuzzAuthorization: no header admits anybody without the key in it, panics, or gets its contents back.
func FuzzAuthorization(f *testing.F) {
	key := NewKey()
	g := openKeys(f, entry("shop", key))
	for _, s := range []string{"Bearer x", "Bearer " + keyPrefix, "Basic a:b", "Bearer  a.b.c", "\x00", "Bearer\t" + strings.Repeat("a", keyLength)} {
		f.Add(s, "")
		f.Add("", s)
	}
	f.Fuzz(func(t *testing.T, authorization, apiKey string) {
		req := with("192.0.2.1")
		req.Header["Authorization"] = []string{authorization}
		req.Header["X-Api-Key"] = []string{apiKey}
		_, d := g.Admit(req)
		if d == nil {
			if !strings.Contains(authorization+apiKey, key) {
				t.Fatalf("%q, %q are admitted", authorization, apiKey)
			}
			return
		}
		if said := fmt.Sprint(d.Text, d.Cause); len(apiKey) > 20 && strings.Contains(said, apiKey) {
			t.Fatalf("the sender's header comes back: %s", said)
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	key := NewKey()
	g := openKeys(b, entry("shop", key)+entry("limited", NewKey(), "  limit: {requests: 1000000}\n"))
	for name, req := range map[string]*http.Request{
		"key":     with("192.0.2.1", "x-api-key", key),
		"missing": with("192.0.2.1"),
		"unknown": with("192.0.2.1", "x-api-key", NewKey()),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Admit(req)
			}
		})
	}
}
