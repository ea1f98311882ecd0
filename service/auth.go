package service

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"tailweir/auth"
	"tailweir/receiver"
	"tailweir/strictyaml"
)

// AuthConfig says who may send to the ingest; docs/auth.md explains it.
type AuthConfig struct {
	Keys   string           `yaml:"keys"`
	Google GoogleAuthConfig `yaml:"google"`
	None   bool             `yaml:"none"`
}

// GoogleAuthConfig says which Google-signed ID tokens are taken; none without Accounts.
type GoogleAuthConfig struct {
	Audiences []string      `yaml:"audiences"`
	Accounts  []string      `yaml:"accounts"`
	Skew      time.Duration `yaml:"skew"`
}

const anyAccount = ".iam.gserviceaccount.com" // how the accounts of a project end

func (a AuthConfig) asks() bool { return a.Keys != "" || a.google() }

func (a AuthConfig) google() bool { return len(a.Google.Audiences)+len(a.Google.Accounts) > 0 }

func (a AuthConfig) check(d *strictyaml.Decoder) {
	if a.None && a.asks() {
		d.Faultf("ingest.auth.none", "contradicts keys and google: with it nobody is asked")
	}
	within(d, "ingest.auth.google.skew", a.Google.Skew, 0, 10*time.Minute)
	if !a.google() {
		return
	}
	if len(a.Google.Audiences) == 0 || len(a.Google.Accounts) == 0 {
		d.Faultf("ingest.auth.google", "needs both audiences and accounts")
	}
	for i, audience := range a.Google.Audiences {
		if audience == "" {
			d.Faultf(fmt.Sprintf("ingest.auth.google.audiences[%d]", i), "is empty, want what tokens are made out to, such as the ingest's URL")
		}
	}
	for i, account := range a.Google.Accounts {
		name, domain, ok := strings.Cut(account, "@")
		project, of := strings.CutSuffix(domain, anyAccount)
		if !ok || name == "" || domain == "" || strings.Contains(domain, "*") || strings.Contains(name, "*") && (name != "*" || !of || project == "") {
			d.Faultf(fmt.Sprintf("ingest.auth.google.accounts[%d]", i), "%q is no account, want an e-mail address, or *@PROJECT%s for all of a project", account, anyAccount)
		}
	}
}

var errNobodyAsked = errors.New("ingest.auth is not set: say who may send. TAILWEIR_KEYS=FILE takes the keys in a file (tailweir key new makes one), " +
	"ingest.auth.google in the file of settings takes Google's ID tokens; TAILWEIR_AUTH=none asks nobody, which is for an ingest that only its apps can reach. docs/auth.md says more")

// decided reports whether it is said who may send. An emulator is for trying things out: there nobody has to be asked.
func (a AuthConfig) decided(emulator string) error {
	switch {
	case a.None && a.asks():
		return errors.New("ingest.auth: none, or TAILWEIR_AUTH=none, contradicts keys and google: take one away")
	case !a.None && !a.asks() && emulator == "":
		return errNobodyAsked
	}
	return nil
}

// String is what the settings take, for the log.
func (a AuthConfig) String() string {
	var ways []string
	if a.Keys != "" {
		ways = append(ways, "keys")
	}
	if a.google() {
		ways = append(ways, "google")
	}
	if len(ways) == 0 {
		return "none"
	}
	return strings.Join(ways, ", ")
}

// openGate returns who is asked, nil for nobody.
func openGate(cfg Config, log *slog.Logger) (*auth.Gate, error) {
	a := cfg.Ingest.Auth
	if err := a.decided(cfg.Emulator); err != nil {
		return nil, err
	}
	if !a.asks() {
		if !a.None {
			log.Warn("nobody is asked who sends: PUBSUB_EMULATOR_HOST is set, and ingest.auth is not")
		}
		return nil, nil
	}
	ac := auth.Config{Keys: a.Keys, Logger: log}
	if a.google() {
		ac.Google = &auth.Google{Audiences: a.Google.Audiences, Accounts: a.Google.Accounts, Skew: a.Google.Skew}
	}
	return auth.Open(ac)
}

// door is an auth.Gate as the receiver has it.
type door struct{ gate *auth.Gate }

var denials = [...]receiver.Reason{
	auth.Missing: receiver.Missing, auth.Unknown: receiver.Unknown, auth.Forbidden: receiver.Forbidden,
	auth.Throttled: receiver.Throttled, auth.Unverified: receiver.Unverified,
}

func (d door) Admit(req *http.Request) (receiver.Caller, *receiver.Denial) {
	caller, denial := d.gate.Admit(req)
	c := receiver.Caller{Name: caller.Name, Stamp: caller.Stamp, Sent: caller.Sent}
	if denial == nil {
		return c, nil
	}
	return c, &receiver.Denial{Reason: denials[denial.Reason], Text: denial.Text, RetryAfter: denial.RetryAfter, Cause: denial.Cause}
}

// keyInstruments are the metrics of the keys. Their number is that of the keys, which is the operator's.
func keyInstruments(g *auth.Gate) []instrument {
	each := func(read func(auth.KeyStats) uint64) func(func(int64, ...attribute.KeyValue)) {
		return func(see func(int64, ...attribute.KeyValue)) {
			for _, k := range g.Stats().Keys {
				see(int64(read(k)), attribute.String("key", k.Name))
			}
		}
	}
	return []instrument{
		{"tailweir.ingest.keys.faulty", "{file}", "1 while the file of keys is bad or gone, and the keys before stay valid.", true, func(see func(int64, ...attribute.KeyValue)) {
			n := int64(0)
			if g.Stats().Faulty {
				n = 1
			}
			see(n)
		}},
		{"tailweir.ingest.key.requests", "{request}", "Requests admitted, by key: one that stands still can be taken away.", false, each(func(k auth.KeyStats) uint64 { return k.Requests })},
		{"tailweir.ingest.key.limited", "{request}", "Requests over the limit of the key.", false, each(func(k auth.KeyStats) uint64 { return k.Limited })},
		{"tailweir.ingest.key.bytes", "By", "Bodies of the requests admitted, by key.", false, each(func(k auth.KeyStats) uint64 { return k.Bytes })},
	}
}
