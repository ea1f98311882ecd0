package auth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// google signs tokens and serves the public keys as Google does, over HTTP on loopback.
type google struct {
	key    *rsa.PrivateKey
	server *httptest.Server
	asked  atomic.Int64
	status atomic.Int64 // of its answers; 0: 200
}

var signer = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newGoogle(t testing.TB) *google {
	g := &google{key: signer()}
	g.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked.Add(1)
		if status := int(g.status.Load()); status != 0 {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=3600")
		json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{
			"kid": "k1", "kty": "RSA", "alg": "RS256", "use": "sig", "n": b64(g.key.N.Bytes()), "e": b64(big.NewInt(int64(g.key.E)).Bytes()),
		}}})
	}))
	t.Cleanup(g.server.Close)
	return g
}

// RoundTrip takes what is meant for Google's host to the server.
func (g *google) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.String() != "https://www.googleapis.com/oauth2/v3/certs" {
		return nil, fmt.Errorf("unexpected request to %s", req.URL)
	}
	there, _ := url.Parse(g.server.URL)
	req = req.Clone(req.Context())
	req.URL, req.Host = there, ""
	return http.DefaultTransport.RoundTrip(req)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

const audience = "https://tailweir.example"

// token signs the claims of a good token with changes; a nil value takes a claim away.
func (g *google) token(changes map[string]any) string { return g.signed(map[string]any{}, changes) }

func (g *google) signed(header, changes map[string]any) string {
	now := time.Now()
	claims := map[string]any{
		"iss": "https://accounts.google.com", "aud": audience, "sub": "1", "email": "shop@acme.iam.gserviceaccount.com", "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	head := map[string]any{"alg": "RS256", "kid": "k1", "typ": "JWT"}
	for into, from := range map[*map[string]any]map[string]any{&claims: changes, &head: header} {
		for k, v := range from {
			if (*into)[k] = v; v == nil {
				delete(*into, k)
			}
		}
	}
	h, _ := json.Marshal(head)
	p, _ := json.Marshal(claims)
	text := b64(h) + "." + b64(p)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, g.key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + b64(sig)
}

// unsigned is the token up to its signature.
func unsigned(token string) string { return token[:strings.LastIndexByte(token, '.')+1] }

func openGoogle(t testing.TB, g *google) *Gate {
	t.Helper()
	gate, err := Open(Config{Logger: quiet, Google: &Google{
		Audiences: []string{"https://other.example", audience}, Skew: time.Minute, Transport: g,
		Accounts: []string{"shop@acme.iam.gserviceaccount.com", "*@partner.iam.gserviceaccount.com"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return gate
}

func TestTokens(t *testing.T) {
	g := newGoogle(t)
	stranger := &google{}
	var err error
	if stranger.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	good := g.token(nil)
	for _, tt := range []struct {
		name, token string
		want        Reason
	}{
		{"good", good, nobody},
		{"another audience of ours", g.token(map[string]any{"aud": "https://other.example"}), nobody},
		{"an account of a project", g.token(map[string]any{"email": "x@partner.iam.gserviceaccount.com"}), nobody},
		{"the issuer without its scheme", g.token(map[string]any{"iss": "accounts.google.com"}), nobody},
		{"issued within the skew", g.token(map[string]any{"iat": in(50 * time.Second)}), nobody},
		{"another account", g.token(map[string]any{"email": "evil@acme.iam.gserviceaccount.com"}), Forbidden},
		{"a project that ends alike", g.token(map[string]any{"email": "x@evil-partner.iam.gserviceaccount.com"}), Forbidden},
		{"an address that holds another", g.token(map[string]any{"email": "x@partner.iam.gserviceaccount.com@evil"}), Forbidden},
		{"another audience", g.token(map[string]any{"aud": "https://elsewhere.example"}), Unknown},
		{"no audience", g.token(map[string]any{"aud": nil}), Unknown},
		{"expired", g.token(map[string]any{"exp": in(-time.Second)}), Unknown},
		{"issued in the future", g.token(map[string]any{"iat": in(2 * time.Minute)}), Unknown},
		{"another issuer", g.token(map[string]any{"iss": "https://evil.example"}), Unknown},
		{"no e-mail", g.token(map[string]any{"email": nil}), Unknown},
		{"e-mail not verified", g.token(map[string]any{"email_verified": false}), Unknown},
		{"signed by somebody else", stranger.token(nil), Unknown},
		{"signed with a key that Google has not", g.signed(map[string]any{"kid": "k2"}, nil), Unknown},
		{"not signed", unsigned(good), Unknown},
		{"none as algorithm", g.signed(map[string]any{"alg": "none"}, nil), Unknown},
		{"a public key as secret", g.signed(map[string]any{"alg": "HS256"}, nil), Unknown},
		{"ES256 with a short signature", unsigned(g.signed(map[string]any{"alg": "ES256"}, nil)) + "AAAA", Unknown},
		{"changed", strings.Replace(good, ".", ".e", 1), Unknown},
		{"two parts", "a.b", Unknown},
		{"rubbish", "....", Unknown},
		{"very long", good + strings.Repeat("A", mostToken), Unknown},
	} {
		gate := openGoogle(t, g) // each with a table of peers of its own
		for try := range 2 {
			c, d := gate.Admit(with("192.0.2.1", "Authorization", "Bearer "+tt.token))
			switch {
			case d == nil:
				if tt.want != nobody || !strings.HasSuffix(c.Name, ".iam.gserviceaccount.com") {
					t.Errorf("%s, try %d: admitted as %q", tt.name, try, c.Name)
				}
			case d.Reason != tt.want:
				t.Errorf("%s, try %d: %+v, want reason %d", tt.name, try, d, tt.want)
			case d.Reason == Unknown && d.Text != unknownText:
				t.Errorf("%s: the sender is told %q", tt.name, d.Text)
			case d.Cause != nil && strings.Contains(d.Cause.Error(), "eyJ"):
				t.Errorf("%s: the token is in %v", tt.name, d.Cause)
			}
		}
	}
	if r := asked(openGoogle(t, g), with("192.0.2.1", "x-api-key", good)); r != Unknown {
		t.Errorf("a token as x-api-key: reason %d, want unknown", r)
	}
}

// Google's keys are fetched once, a token is verified once, and one that is known goes through while Google is away.
func TestTokensAreRemembered(t *testing.T) {
	g := newGoogle(t)
	gate := openGoogle(t, g)
	token := g.token(nil)
	for range 100 {
		if r := asked(gate, with("192.0.2.1", "Authorization", "Bearer "+token)); r != nobody {
			t.Fatalf("reason %d", r)
		}
	}
	if n := g.asked.Load(); n != 1 {
		t.Errorf("Google was asked %d times for its keys, want once", n)
	}
	for i := range mostTokens + 10 {
		gate.tokens.good.Add(sha256.Sum256(fmt.Append(nil, i)), identity{})
	}
	if n := gate.tokens.good.Len(); n != mostTokens {
		t.Errorf("%d tokens are remembered, want %d", n, mostTokens)
	}
}

// While Google's keys cannot be had nobody is told that his token is bad, which would lose what he sends; and Google is not asked for each.
func TestGoogleAway(t *testing.T) {
	g := newGoogle(t)
	g.status.Store(500)
	gate := openGoogle(t, g)
	token := g.token(nil)
	for range 50 {
		_, d := gate.Admit(with("192.0.2.1", "Authorization", "Bearer "+token))
		if d == nil || d.Reason != Unverified || d.RetryAfter <= 0 || !errors.Is(d.Cause, errUnverified) {
			t.Fatalf("%+v, want unverified", d)
		}
	}
	if n := g.asked.Load(); n > 3 {
		t.Errorf("Google was asked %d times in a moment, want once a second", n)
	}
	g.status.Store(0)
	gate = openGoogle(t, g)
	if r := asked(gate, with("192.0.2.1", "Authorization", "Bearer "+token)); r != nobody {
		t.Errorf("Google is back: reason %d", r)
	}
}

// A peer whose tokens were refused too often costs no more verification; its token that is known already is good.
func TestTokensOfAThrottledPeer(t *testing.T) {
	g := newGoogle(t)
	gate := openGoogle(t, g)
	known := g.token(nil)
	if r := asked(gate, with("192.0.2.1", "Authorization", "Bearer "+known)); r != nobody {
		t.Fatalf("reason %d", r)
	}
	forged := known[:len(known)-8] + "AAAAAAAA"
	for asked(gate, with("192.0.2.1", "Authorization", "Bearer "+forged)) == Unknown {
	}
	if r := asked(gate, with("192.0.2.1", "Authorization", "Bearer "+known)); r != nobody {
		t.Errorf("the known token: reason %d", r)
	}
	fresh := g.token(map[string]any{"jti": "2"})
	if r := asked(gate, with("192.0.2.1", "Authorization", "Bearer "+fresh)); r != Throttled {
		t.Errorf("a fresh token from the throttled peer: reason %d, want throttled", r)
	}
	if r := asked(gate, with("192.0.2.2", "Authorization", "Bearer "+fresh)); r != nobody {
		t.Errorf("the same from another peer: reason %d", r)
	}
}

// A token that was taken is taken for as long after its end as the clocks may differ.
func TestSkewOfKnownTokens(t *testing.T) {
	g := newGoogle(t)
	gate := openGoogle(t, g)
	token := g.token(map[string]any{"exp": time.Now().Add(time.Hour).Unix()})
	if r := asked(gate, with("192.0.2.1", "Authorization", "Bearer "+token)); r != nobody {
		t.Fatalf("reason %d", r)
	}
	sum := sha256.Sum256([]byte(token))
	id, _ := gate.tokens.good.Get(sum)
	if d := time.Until(id.until) - time.Hour; d < 55*time.Second || d > time.Minute {
		t.Errorf("remembered until %v after the token's end, want the skew of a minute", d)
	}
	id.until = time.Now()
	gate.tokens.good.Add(sum, id)
	if _, ok := gate.tokens.known(token); ok {
		t.Error("taken after that, too")
	}
}

// FuzzToken: no token that was not signed is admitted, and none makes the library panic.
func FuzzToken(f *testing.F) {
	g := newGoogle(f)
	gate := openGoogle(f, g)
	good := g.token(nil)
	f.Add(good[:len(good)-2])
	f.Add(g.signed(map[string]any{"alg": "ES256"}, nil))
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		req := with("192.0.2.1")
		req.Header["Authorization"] = []string{"Bearer " + token}
		gate.peers = newPeers()
		if _, d := gate.Admit(req); d == nil && strings.TrimSpace(token) != good {
			t.Fatalf("%q is admitted", token)
		}
	})
}

func BenchmarkToken(b *testing.B) {
	g := newGoogle(b)
	gate := openGoogle(b, g)
	token := g.token(nil)
	for name, forget := range map[string]bool{"known": false, "verified": true} {
		b.Run(name, func(b *testing.B) {
			req := with("192.0.2.1", "Authorization", "Bearer "+token)
			b.ReportAllocs()
			for b.Loop() {
				if forget {
					gate.tokens.good.Purge()
				}
				if _, d := gate.Admit(req); d != nil {
					b.Fatal(d)
				}
			}
		})
	}
}
