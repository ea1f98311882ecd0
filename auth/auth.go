// Package auth says who may send to an ingest, by what a request's headers show: a static key, or an ID token that Google signed for a
// service account.
//
// Keys are 32 random bytes as text, and the file has their SHA-256 hashes. A slow hash such as bcrypt protects secrets that people
// choose, which can be guessed; nobody guesses 256 random bits, whatever a guess costs, and a slow hash would be paid with every
// request. That is why only keys in the form of NewKey are taken.
//
// A key is found by the hash of what was presented, and all of the hash is then compared in constant time. How long the search takes
// may tell how the hash of a guess begins, but who sends a guess knows that himself, and cannot go from a hash to a key.
//
// Nothing here logs or returns what was presented.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"tailweir/otlp"
)

// Config says who may send. One of Keys and Google at least is given.
type Config struct {
	Keys   string  // file of keys, see Parse; "": none
	Google *Google // ID tokens; nil: none
	Logger *slog.Logger
}

// Caller is who sends.
type Caller struct {
	Name  string          // of the key, or the service account's e-mail address
	Stamp otlp.Stamp      // the key's attributes; empty: none
	Sent  func(bytes int) // to be told the size of the body once it is read; nil: need not be
}

// Denial is why somebody may not send.
type Denial struct {
	Reason     Reason
	Text       string        // for the sender; never says what is wrong with what it has shown
	RetryAfter time.Duration // with Throttled and Unverified
	Cause      error         // for the log; nil: the reason says all
}

// Reason is the kind of a Denial.
type Reason uint8

// The reasons.
const (
	Missing    Reason = iota // no key or token was shown
	Unknown                  // what was shown is not valid
	Forbidden                // a valid token, of an account that may not send
	Throttled                // over the limit of the key, or too many refusals of the peer
	Unverified               // Google's public keys cannot be had
)

// Gate admits requests. It is safe for concurrent use.
type Gate struct {
	cfg    Config
	read   []byte                  // the file at Open
	keys   atomic.Pointer[Keyring] // nil: keys are not taken
	faulty atomic.Bool             // the file is bad now, the keys are those before
	tokens *tokens                 // nil: tokens are not taken
	peers  *peers
	help   string // what Missing is told
}

// Open reads the file of keys and returns a Gate. That the file is bad, or cannot be read, is an error: there are no keys before to go
// on with.
func Open(cfg Config) (*Gate, error) {
	if cfg.Keys == "" && cfg.Google == nil {
		return nil, errors.New("auth: neither keys nor google is given")
	}
	g := &Gate{cfg: cfg, peers: newPeers()}
	var ways []string
	if cfg.Keys != "" {
		src, err := readKeys(cfg.Keys)
		if err != nil {
			return nil, err
		}
		ring, err := Parse(cfg.Keys, src)
		if err != nil {
			return nil, err
		}
		g.read = src
		g.keys.Store(ring)
		ways = append(ways, "a key as x-api-key or Authorization: Bearer")
	}
	if cfg.Google != nil {
		var err error
		if g.tokens, err = newTokens(*cfg.Google); err != nil {
			return nil, err
		}
		ways = append(ways, "a Google-signed ID token as Authorization: Bearer")
	}
	g.help = "nothing says who sends: send " + strings.Join(ways, ", or ") + "; apps do by OTEL_EXPORTER_OTLP_HEADERS"
	return g, nil
}

const (
	unknownText = "what is sent as key or token is not valid here"
	refusedText = "too many refused requests from this address"
)

// Admit says who sends the request, or why it is denied. It looks at headers alone. A key costs a hash; a token is verified once, which
// may wait for Google's public keys for some seconds, and then remembered.
func (g *Gate) Admit(req *http.Request) (Caller, *Denial) {
	shown, bearer := credential(req.Header)
	switch {
	case shown == "":
		return Caller{}, &Denial{Reason: Missing, Text: g.help}
	case isKey(shown):
		return g.admitKey(req, shown)
	case g.tokens != nil && bearer:
		return g.admitToken(req, shown)
	}
	return g.refuse(req, errors.New("neither a key nor a token"))
}

func (g *Gate) admitKey(req *http.Request, shown string) (Caller, *Denial) {
	k := g.keys.Load().find(shown)
	if k == nil {
		return g.refuse(req, errors.New("key is not in the file"))
	}
	now := time.Now()
	if k.expired(now) {
		c, d := g.refuse(req, fmt.Errorf("key %s was valid until %s", k.caller.Name, k.until.Format(time.RFC3339)))
		c.Name = k.caller.Name
		return c, d
	}
	if wait := k.use.take(now); wait > 0 {
		return Caller{Name: k.caller.Name}, &Denial{Reason: Throttled, Text: "over the limit of this key", RetryAfter: wait}
	}
	return k.caller, nil
}

func (g *Gate) admitToken(req *http.Request, shown string) (Caller, *Denial) {
	email, known := g.tokens.known(shown)
	if !known {
		if wait := g.peers.wait(req); wait > 0 {
			return Caller{}, &Denial{Reason: Throttled, Text: refusedText, RetryAfter: wait}
		}
		var err error
		if email, err = g.tokens.verify(req.Context(), shown); errors.Is(err, errUnverified) {
			return Caller{}, &Denial{Reason: Unverified, Text: "tokens cannot be verified now", RetryAfter: unverifiedDelay, Cause: err}
		} else if err != nil {
			return g.refuse(req, err)
		}
	}
	if !g.tokens.allowed(email) {
		g.peers.refused(req)
		return Caller{Name: email}, &Denial{Reason: Forbidden, Text: "this account may not send here"}
	}
	return Caller{Name: email}, nil
}

// refuse denies what is not valid, with one text for all causes: Unknown, or Throttled when that peer was refused too often. Who is valid
// is not looked for in the table, so that others behind the same proxy cannot lock it out. Missing is not counted: it gives nothing to
// guess, and costs no more than to refuse it so.
func (g *Gate) refuse(req *http.Request, cause error) (Caller, *Denial) {
	if wait := g.peers.refused(req); wait > 0 {
		return Caller{}, &Denial{Reason: Throttled, Text: refusedText, RetryAfter: wait, Cause: cause}
	}
	return Caller{}, &Denial{Reason: Unknown, Text: unknownText, Cause: cause}
}

// noCredential stands for what is shown, but of a kind that nobody takes.
const noCredential = "-"

// credential is what the headers show; bearer: as Authorization. With an x-api-key Authorization is not looked at: it belongs to
// somebody in front, as Cloud Run's check of its invokers.
func credential(h http.Header) (shown string, bearer bool) {
	if v := h["X-Api-Key"]; len(v) > 0 {
		return strings.TrimSpace(v[0]), false
	}
	v := h["Authorization"]
	if len(v) == 0 {
		return "", false
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(v[0]), " ")
	if rest == "" { // a value for OTEL_EXPORTER_OTLP_HEADERS is to be percent-encoded, and some SDKs do not decode it
		scheme, rest, _ = strings.Cut(scheme, "%20")
	}
	switch {
	case scheme == "":
		return "", false
	case !strings.EqualFold(scheme, "Bearer"):
		return noCredential, false
	}
	return strings.TrimSpace(rest), true
}

// Run follows the file of keys until ctx is done.
func (g *Gate) Run(ctx context.Context) error {
	if g.cfg.Keys == "" {
		<-ctx.Done()
		return nil
	}
	w := watch{gate: g, last: g.read}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.look()
		}
	}
}

// KeyStats is the use of one key.
type KeyStats struct {
	Name              string
	Requests, Limited uint64 // admitted, and refused by its limit
	Bytes             uint64 // of the bodies of those that were admitted, as they came
}

// Stats is what a Gate knows of its keys.
type Stats struct {
	Keys   []KeyStats // those in the file, in its order
	Faulty bool       // the file is bad, or gone, and these are the keys before
}

// Stats reads the counters. Those of a key that leaves the file end.
func (g *Gate) Stats() Stats {
	st := Stats{Faulty: g.faulty.Load()}
	for _, k := range g.keys.Load().list() {
		st.Keys = append(st.Keys, KeyStats{
			Name: k.caller.Name, Requests: k.use.requests.Load(), Limited: k.use.limited.Load(), Bytes: k.use.bytes.Load(),
		})
	}
	return st
}
