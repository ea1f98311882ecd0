package receiver

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// CORS says which web pages may send from a browser; see [the Fetch standard]. The zero value: none.
//
// [the Fetch standard]: https://fetch.spec.whatwg.org/#http-cors-protocol
type CORS struct {
	// AllowedOrigins are origins as browsers write them (https://shop.example.com, http://localhost:3000), with `*.` in front
	// of a host for all names below it, with the port `*` for any port, or `*` alone for every page there is.
	AllowedOrigins []string
	// AllowedHeaders are request headers that such pages may send beside those that OTLP and its SDKs use, which are always
	// allowed.
	AllowedHeaders []string
	// MaxAge is how long a browser may remember that it was allowed. Default 2 h, the most that Chromium takes.
	MaxAge time.Duration
}

// corsHeaders are what browser SDKs and gRPC-Web clients send. Content-Type is always among them: neither of OTLP's is one that
// a page may send without asking, so nothing is stored for a page whose origin was not allowed.
const corsHeaders = "content-type, content-encoding, authorization, x-api-key, traceparent, tracestate, baggage, " +
	"x-grpc-web, x-user-agent, user-agent, grpc-timeout, grpc-encoding, grpc-accept-encoding, x-requested-with"

// corsExposed are the response headers that the page's script may read: what says why and when to try again.
const corsExposed = "retry-after, grpc-status, grpc-message, grpc-status-details-bin"

// cors answers for a CORS that allows something; nil for one that does not.
type cors struct {
	any     bool
	exact   map[string]bool
	wild    []originPattern
	headers []string // as header values, which net/http only reads
	maxAge  []string
}

func newCORS(c CORS) (*cors, error) {
	if len(c.AllowedOrigins) == 0 {
		return nil, nil
	}
	set(&c.MaxAge, 2*time.Hour)
	k := &cors{exact: make(map[string]bool)}
	for _, text := range c.AllowedOrigins {
		p, err := parseOrigin(text)
		switch {
		case err != nil:
			return nil, err
		case p.any:
			k.any = true
		case p.subdomains || p.anyPort:
			k.wild = append(k.wild, p)
		default:
			k.exact[p.scheme+p.host+p.port] = true
		}
	}
	names := corsHeaders
	for _, name := range c.AllowedHeaders {
		if !isToken(name) {
			return nil, fmt.Errorf("header %q is no name of a header: want letters, digits and -", name)
		}
		names += ", " + strings.ToLower(name)
	}
	k.headers = []string{names}
	k.maxAge = []string{strconv.Itoa(int(c.MaxAge / time.Second))}
	return k, nil
}

// Validate says what is wrong with an origin or a header.
func (c CORS) Validate() error {
	_, err := newCORS(c)
	return err
}

// Header values that all responses to browsers share.
var (
	corsAny     = []string{"*"}
	corsTrue    = []string{"true"}
	corsMethods = []string{http.MethodPost}
	corsExpose  = []string{corsExposed}
	corsVary    = []string{"Origin"}
	corsVaryAll = []string{"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
)

// serve puts the headers of CORS on the response, and answers a preflight, which is then done: it carries no key, so it comes
// before any other question. What else comes from a page that is not allowed is served without those headers, since a browser
// sends Origin also from a page of the ingest's own origin, behind a proxy, where nothing has to be allowed; it sends no OTLP
// from any other page without a preflight.
func (k *cors) serve(w http.ResponseWriter, req *http.Request) (done bool) {
	origin := first(req.Header, "Origin")
	if origin == "" {
		return false
	}
	h := w.Header()
	preflight := req.Method == http.MethodOptions && first(req.Header, "Access-Control-Request-Method") != ""
	h["Vary"] = corsVary
	if preflight {
		h["Vary"] = corsVaryAll
	}
	listed := k.lists(origin)
	switch {
	case listed:
		// Credentials, because a beacon always has them and they cannot be told apart: nothing here is decided by a cookie.
		h["Access-Control-Allow-Origin"] = []string{origin}
		h["Access-Control-Allow-Credentials"] = corsTrue
	case k.any:
		h["Access-Control-Allow-Origin"] = corsAny
	case preflight:
		plain(w, http.StatusForbidden, "pages of "+validText(strconv.QuoteToASCII(origin))+" may not send here: ingest.cors.allowed_origins does not name them")
		return true
	default:
		return false
	}
	if !preflight {
		h["Access-Control-Expose-Headers"] = corsExpose
		return false
	}
	h["Access-Control-Allow-Methods"] = corsMethods
	h["Access-Control-Allow-Headers"] = k.headers
	h["Access-Control-Max-Age"] = k.maxAge
	w.WriteHeader(http.StatusNoContent)
	return true
}

// lists reports whether the origin is allowed by name or pattern, and not only because all are.
func (k *cors) lists(origin string) bool {
	if k.exact[origin] {
		return true
	}
	for i := range k.wild {
		if k.wild[i].matches(origin) {
			return true
		}
	}
	return false
}

// originPattern is an entry of CORS.AllowedOrigins.
type originPattern struct {
	any        bool
	scheme     string // with ://
	host       string // in lower case; of subdomains with the dot in front
	port       string // with the colon, or ""
	subdomains bool
	anyPort    bool
}

func parseOrigin(text string) (p originPattern, err error) {
	if text == "*" {
		return originPattern{any: true}, nil
	}
	bad := func(why string) (originPattern, error) {
		return originPattern{}, fmt.Errorf("origin %q %s: want scheme://host[:port] as https://shop.example.com, https://*.example.com or http://localhost:*, or *", text, why)
	}
	at := strings.Index(text, "://")
	if at < 1 || !isToken(text[:at]) {
		return bad("has no scheme")
	}
	p.scheme = strings.ToLower(text[:at+3])
	host, port, ok := splitOrigin(strings.ToLower(text[at+3:]))
	p.host, p.port = host, port
	if !ok {
		return bad("has more than a host and a port")
	}
	if name, wild := strings.CutPrefix(p.host, "*."); wild {
		host, p.host, p.subdomains = name, "."+name, true
	}
	switch {
	case p.port == ":*":
		p.port, p.anyPort = "", true
	case p.scheme+p.port == "https://:443", p.scheme+p.port == "http://:80":
		p.port = "" // as browsers write it
	}
	switch {
	case !isHost(host):
		return bad("has no such host")
	case p.port != "" && !isPort(p.port):
		return bad("has no such port")
	}
	return p, nil
}

// splitOrigin takes host and port of an origin apart; the port keeps its colon.
func splitOrigin(rest string) (host, port string, ok bool) {
	if strings.ContainsAny(rest, "/?#@\\ ") {
		return "", "", false
	}
	if strings.HasPrefix(rest, "[") {
		end := strings.IndexByte(rest, ']') + 1
		return rest[:end], rest[end:], end > 0
	}
	if colon := strings.IndexByte(rest, ':'); colon >= 0 {
		return rest[:colon], rest[colon:], true
	}
	return rest, "", true
}

// matches compares as bytes: browsers write origins in lower case, names of other scripts in punycode.
func (p *originPattern) matches(origin string) bool {
	rest, ok := strings.CutPrefix(origin, p.scheme)
	if !ok {
		return false
	}
	host, port, ok := splitOrigin(rest)
	if !ok || !isHost(host) {
		return false
	}
	if port != p.port && !(p.anyPort && (port == "" || isPort(port))) {
		return false
	}
	if !p.subdomains {
		return host == p.host
	}
	return len(host) > len(p.host) && strings.HasSuffix(host, p.host)
}

// isHost reports a name of labels with dots between, or an IPv6 address in brackets.
func isHost(host string) bool {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && inner != "" && strings.Trim(inner, "0123456789abcdef:.") == ""
	}
	last := byte('.')
	for _, c := range []byte(host) {
		if c == '.' && last == '.' || c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
		last = c
	}
	return last != '.'
}

func isPort(port string) bool {
	n, err := strconv.ParseUint(strings.TrimPrefix(port, ":"), 10, 16)
	return err == nil && n > 0 && port[0] == ':'
}

// isToken reports a name as those of headers and schemes are, a part of what RFC 9110 allows.
func isToken(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+"
	return name != "" && strings.Trim(name, letters) == ""
}
