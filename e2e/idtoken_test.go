package e2e_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestIDTokens: each SDK shows a Google-signed ID token in the way that docs/sdks.md tells, and another before the first expires. The
// tokens come from a metadata server of the test, as on Cloud Run; how the ingest verifies them is tested in package auth.
func TestIDTokens(t *testing.T) {
	t.Parallel()
	const audience = "https://ingest.example.com"
	l, backend := keepAll(t)
	for _, tt := range []struct {
		app   string
		early time.Duration // before its end the library renews a token
		run   func(t *testing.T) ([]string, string, []string)
		// The Go library takes what the metadata server gives to be valid for an hour, and no test waits so long; of a service
		// account's key file it reads when the token ends.
		account bool
	}{
		{app: "node", early: 5 * time.Minute, run: func(t *testing.T) ([]string, string, []string) {
			env, program, args := runNode(t)
			dir := nodePackages(t)
			return env, program, append([]string{"--require", filepath.Join(dir, "idtoken.js")}, args[2:]...)
		}},
		{app: "python", early: 225 * time.Second, run: func(t *testing.T) ([]string, string, []string) {
			env, program, args := runPython(t)
			return append(env, "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER=google",
				"PYTHONPATH="+pythonPackages(t)+string(os.PathListSeparator)+entryPoint(t)), program, args
		}},
		{app: "go", early: 225 * time.Second, run: runGo, account: true},
	} {
		t.Run(tt.app, func(t *testing.T) {
			t.Parallel()
			const fresh = 3 * time.Second
			m := newMetadata(t, audience, tt.early+fresh)
			door := newGuarded(t, l.otlp)
			lang := languageOf(tt.app)
			lang.run = tt.run
			env := []string{"ID_TOKEN_AUDIENCE=" + audience, "GCE_METADATA_HOST=" + m.addr, "GCE_METADATA_IP=" + m.addr,
				"METADATA_SERVER_DETECTION=assume-present", "HOME=" + t.TempDir(), "OTEL_BSP_SCHEDULE_DELAY=200", "OTEL_BLRP_SCHEDULE_DELAY=200"}
			if tt.account {
				env = append(env, "GOOGLE_APPLICATION_CREDENTIALS="+accountKey(t, "http://"+m.addr+"/token"))
			}
			s := startShop(t, lang, tt.app+" with token", door.URL, "http/protobuf", env...)
			for range 3 { // Go shows the old one once more while it asks for another in the background
				c := s.order("plain")
				await(t, "trace "+c.trace+" is at the backend", func() string {
					if got := backend.trail(c.trace); len(got.spans) == 0 || len(got.records) == 0 {
						return fmt.Sprintf("%d spans, %d records", len(got.spans), len(got.records))
					}
					return ""
				})
				time.Sleep(fresh + 500*time.Millisecond) // a real token's time: no clock but the library's own
			}
			s.end()
			shown := door.authorizations()
			for _, a := range shown {
				if !m.issued(a) {
					t.Errorf("a request shows %q, which is no token of the metadata server", a)
				}
			}
			if len(shown) < 2 {
				t.Errorf("%d different tokens were shown, want a second one after the first was too old", len(shown))
			}
		})
	}
}

// entryPoint is a directory with the metadata of an installed package that names google_token.session as a provider of credentials.
func entryPoint(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	info := filepath.Join(dir, "shop_google_token-1.dist-info")
	if err := os.Mkdir(info, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"METADATA":         "Metadata-Version: 2.1\nName: shop-google-token\nVersion: 1\n",
		"entry_points.txt": "[opentelemetry_otlp_credential_provider]\ngoogle = google_token:session\n",
	} {
		if err := os.WriteFile(filepath.Join(info, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// metadata is Google's metadata server as far as tokens need it.
type metadata struct {
	addr string

	mu     sync.Mutex
	tokens map[string]bool
}

func newMetadata(t *testing.T, audience string, life time.Duration) *metadata {
	m := &metadata{tokens: map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		switch path := strings.TrimPrefix(r.URL.Path, "/computeMetadata/v1/"); {
		case path == "instance/service-accounts/default/identity":
			if got := r.URL.Query().Get("audience"); got != audience || r.Header.Get("Metadata-Flavor") != "Google" {
				t.Errorf("a token for audience %q is asked for, want %q", got, audience)
			}
			fmt.Fprint(w, m.token(audience, life))
		case path == "/token":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"id_token": %q}`, m.token(audience, life))
		case path == "universe/universe-domain", path == "universe/universe_domain":
			fmt.Fprint(w, "googleapis.com")
		case strings.HasPrefix(path, "instance/service-accounts/"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"default": {"email": "shop@e2e.iam.gserviceaccount.com", "scopes": [], "aliases": ["default"]}, "email": "shop@e2e.iam.gserviceaccount.com", "scopes": []}`)
		default:
			fmt.Fprint(w, "e2e")
		}
	}))
	t.Cleanup(server.Close)
	m.addr = server.Listener.Addr().String()
	return m
}

// accountKey is the key file of a service account that asks for tokens at an address of the test.
func accountKey(t *testing.T, address string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{"type": "service_account", "project_id": "e2e", "private_key_id": "e2e", "client_id": "1",
		"client_email": "shop@e2e.iam.gserviceaccount.com", "token_uri": address,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "account.json", string(text))
}

// token is a JWT whose signature nobody here looks at.
func (m *metadata) token(audience string, life time.Duration) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	now := time.Now()
	token := part(`{"alg":"RS256","typ":"JWT","kid":"e2e"}`) + "." + part(fmt.Sprintf(
		`{"aud":%q,"iss":"https://accounts.google.com","email":"shop@e2e.iam.gserviceaccount.com","iat":%d,"exp":%d,"jti":"%d"}`,
		audience, now.Unix(), now.Add(life).Unix(), len(m.tokens))) + "." + part("signature")
	m.tokens[token] = true
	return token
}

func (m *metadata) issued(authorization string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	return ok && m.tokens[token]
}

// guarded relays to an ingest and remembers what was shown to it.
type guarded struct {
	*httptest.Server
	mu    sync.Mutex
	shown map[string]bool
}

func newGuarded(t *testing.T, target string) *guarded {
	g := &guarded{shown: map[string]bool{}}
	relay := relayTo(t, target)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.shown[r.Header.Get("Authorization")] = true
		g.mu.Unlock()
		relay.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *guarded) authorizations() (all []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for a := range g.shown {
		all = append(all, a)
	}
	return all
}
