package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"google.golang.org/api/idtoken"
	"google.golang.org/api/option"
)

// Google says which ID tokens are taken.
type Google struct {
	// Audiences are what tokens may be made out to: usually the URL of the ingest. At least one.
	Audiences []string
	// Accounts are the e-mail addresses of the service accounts that may send; "*@PROJECT.iam.gserviceaccount.com" is all of a
	// project. At least one.
	Accounts []string
	// Skew is by how much the clocks here and at Google may differ: a token may have been issued so much in the future, and one that was
	// taken is taken for so long after its end. One that comes for the first time after its end is not: Google's library says no, and
	// clients renew their tokens minutes before.
	Skew time.Duration
	// Transport reaches Google's public keys. nil: http.DefaultTransport.
	Transport http.RoundTripper
}

const (
	mostTokens      = 10_000 // remembered; an app has a few in an hour
	mostToken       = 8 << 10
	verifying       = 8 // at once: a signature takes about 30 µs, and all wait when Google's keys do
	verifyWait      = 2 * time.Second
	certsTimeout    = 5 * time.Second
	unverifiedDelay = 2 * time.Second
)

// tokens verifies ID tokens and remembers them.
type tokens struct {
	cfg       Google
	validator *idtoken.Validator
	good      *lru.Cache[[sha256.Size]byte, identity]
	slots     chan struct{}
}

// identity is whose a token is, and until when.
type identity struct {
	email string
	until time.Time
}

func newTokens(cfg Google) (*tokens, error) {
	if len(cfg.Audiences) == 0 || len(cfg.Accounts) == 0 {
		return nil, errors.New("auth: google needs audiences and accounts")
	}
	base := cfg.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	client := &http.Client{Transport: &certs{base: base}, Timeout: certsTimeout}
	validator, err := idtoken.NewValidator(context.Background(), option.WithHTTPClient(client))
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	good, err := lru.New[[sha256.Size]byte, identity](mostTokens)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	return &tokens{cfg: cfg, validator: validator, good: good, slots: make(chan struct{}, verifying)}, nil
}

// known returns whose a token is that was verified before.
func (t *tokens) known(token string) (email string, ok bool) {
	id, ok := t.good.Get(sha256.Sum256([]byte(token)))
	if !ok || !time.Now().Before(id.until) {
		return "", false
	}
	return id.email, true
}

// errUnverified is the end of a verification that says nothing of the token.
var errUnverified = errors.New("public keys of Google cannot be had")

// verify returns whose the token is.
func (t *tokens) verify(ctx context.Context, token string) (email string, err error) {
	if err := t.precheck(token); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, verifyWait)
	defer cancel()
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return "", fmt.Errorf("%w: too many tokens wait for them", errUnverified)
	}
	p, err := t.validator.Validate(context.WithoutCancel(ctx), token, "") // the audience is checked; certsTimeout bounds it, for all who wait for the same
	if failed := (*certsError)(nil); errors.As(err, &failed) {
		return "", fmt.Errorf("%w: %w", errUnverified, failed.err)
	} else if err != nil {
		return "", errors.New("signature or time of the token is not valid") // the library's error may quote it
	}
	email, err = t.emailOf(p)
	if err != nil {
		return "", err
	}
	t.good.Add(sha256.Sum256([]byte(token)), identity{email, time.Unix(p.Expires, 0).Add(t.cfg.Skew)})
	return email, nil
}

// precheck refuses what no signature can make good, which costs some µs, and what the library should not get to see: of ES256, which is
// Identity-Aware Proxy's, it reads 64 bytes whether they are there or not.
func (t *tokens) precheck(token string) error {
	head, _, _ := strings.Cut(token, ".")
	var header struct {
		Alg string `json:"alg"`
	}
	b, err := base64.RawURLEncoding.DecodeString(head)
	if len(token) > mostToken || err != nil || json.Unmarshal(b, &header) != nil {
		return errors.New("not an ID token")
	}
	if header.Alg != "RS256" {
		return errors.New("token is not signed with RS256")
	}
	p, err := idtoken.ParsePayload(token)
	if err != nil {
		return errors.New("payload of the token cannot be read")
	}
	now := time.Now()
	switch {
	case p.Issuer != "https://accounts.google.com" && p.Issuer != "accounts.google.com":
		return errors.New("issuer of the token is not Google")
	case !slices.Contains(t.cfg.Audiences, p.Audience):
		return errors.New("audience of the token is not among ingest.auth.google.audiences")
	case now.Unix() > p.Expires:
		return errors.New("token has expired")
	case time.Unix(p.IssuedAt, 0).After(now.Add(t.cfg.Skew)):
		return errors.New("token was issued in the future: is the clock here right?")
	}
	return nil
}

// emailOf is the verified e-mail address in the token. Those of service accounts have it when it was asked for, as the metadata server does
// with format=full, and client libraries do.
func (t *tokens) emailOf(p *idtoken.Payload) (string, error) {
	email, _ := p.Claims["email"].(string)
	if verified, _ := p.Claims["email_verified"].(bool); email == "" || !verified {
		return "", errors.New("token has no verified e-mail address: ask for it with format=full")
	}
	return email, nil
}

// allowed reports whether the account may send.
func (t *tokens) allowed(email string) bool {
	_, domain, _ := strings.Cut(email, "@")
	return slices.ContainsFunc(t.cfg.Accounts, func(a string) bool {
		all, ok := strings.CutPrefix(a, "*@")
		return a == email || ok && all == domain
	})
}

// certs fetches Google's public keys for the library, which keeps them for as long as their headers say. It makes an error that says nothing
// of a token tell itself, and asks no more than once a second while there is one.
type certs struct {
	base http.RoundTripper

	mu     sync.Mutex
	failed *certsError
	until  time.Time
}

type certsError struct{ err error }

func (e *certsError) Error() string { return e.err.Error() }

func (c *certs) RoundTrip(req *http.Request) (*http.Response, error) {
	c.mu.Lock()
	failed := c.failed
	if failed != nil && time.Now().Before(c.until) {
		c.mu.Unlock()
		return nil, failed
	}
	c.mu.Unlock()
	resp, err := c.fetch(req)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed = nil; err != nil {
		c.failed, c.until = &certsError{err}, time.Now().Add(time.Second)
		return nil, c.failed
	}
	return resp, nil
}

// fetch reads the whole answer, so that one that breaks off is an error here.
func (c *certs) fetch(req *http.Request) (*http.Response, error) {
	resp, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers %s", req.URL.Host, resp.Status)
	case !json.Valid(body):
		return nil, fmt.Errorf("%s answers with no JSON", req.URL.Host)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
