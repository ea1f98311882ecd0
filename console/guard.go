package console

import (
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"strings"
)

// contentSecurityPolicy allows the one style sheet and the one script by their hashes, and the
// script to fetch the page again. Nothing a span could carry is able to run, load or frame anything;
// there are no style attributes either, bars are SVG geometry.
var contentSecurityPolicy = "default-src 'none'; style-src " + cspHash(styleSheet) + "; script-src " + cspHash(refreshScript) +
	"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func cspHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	switch {
	case !c.hostAllowed(r):
		refuse(w, r, http.StatusForbidden, "this name is not an allowed host of the console")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		refuse(w, r, http.StatusMethodNotAllowed, "only GET and HEAD are answered here")
	default:
		c.mux.ServeHTTP(w, r)
	}
}

func refuse(w http.ResponseWriter, r *http.Request, code int, text string) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		apiError(w, code, text)
		return
	}
	plain(w, code, text)
}

// hostAllowed stops DNS rebinding: a web site may let its own name resolve to 127.0.0.1 and would
// then share an origin with a console that answers to any name. Probes are exempt, because they
// come with the names that load balancers like and tell nothing. A connection whose local address
// is unknown counts as loopback.
func (c *Console) hostAllowed(r *http.Request) bool {
	if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return true
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && !local.IP.IsLoopback() {
		return true
	}
	return c.hosts[hostName(r.Host)]
}

func hostSet(extra []string) map[string]bool {
	set := map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}
	for _, h := range extra {
		set[hostName(h)] = true
	}
	return set
}

// hostName is the Host header without port, brackets and case.
func hostName(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
