package service

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tailweir/otlp"
	"tailweir/receiver"
	"tailweir/redact"
)

type nowhere struct{}

func (nowhere) Publish(context.Context, []byte, map[string]string) error { return nil }

// The metrics of the ingest have a line for each rule, also for one that has found nothing.
func TestRedactionMetrics(t *testing.T) {
	cfg := Default()
	if err := cfg.Parse("t.yaml", []byte("ingest: {redact: {sets: [email], rules: [{name: r, keys: [k], action: hash}]}}")); err != nil {
		t.Fatal(err)
	}
	cfg.RedactKey = "0123456789abcdef"
	rules, err := NewRedaction(cfg)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := otlp.FromJSON(otlp.Traces, []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"to a@b.org, c@d.org"},{"name":"e@f.org"}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.Rewrite(otlp.Traces, payload); err != nil {
		t.Fatal(err)
	}
	handler, err := ingestMetrics(receiver.New(nowhere{}, receiver.Config{Rewriter: rules}), nil, rules)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`tailweir_ingest_redacted_total{action="mask",rule="email"} 3`,
		`tailweir_ingest_redacted_items_total{action="mask",rule="email"} 2`,
		`tailweir_ingest_redacted_total{action="hash",rule="r"} 0`,
		`tailweir_ingest_redact_failures_total 0`,
		`tailweir_ingest_unnamed_total{signal="traces"} 0`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("no line %q in\n%s", want, w.Body)
		}
	}
}

func TestRedactionKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hashing := redact.Default()
	hashing.Sets = []redact.Set{{Name: "email", Action: redact.Hash}}
	hash := func(cfg Config) string {
		rules, err := NewRedaction(cfg)
		if err != nil {
			t.Fatal(err)
		}
		payload, _ := otlp.FromJSON(otlp.Traces, []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a@b.org"}]}]}]}`))
		out, err := rules.Rewrite(otlp.Traces, payload)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	env, named := Default(), Default()
	env.Ingest.Redact, env.RedactKey = hashing, "0123456789abcdef"
	named.Ingest.Redact = hashing
	named.Ingest.Redact.KeyFile = file
	if hash(env) != hash(named) {
		t.Error("the key of the file, which ends in a line break, is another than that of the environment")
	}
	if out := string(env.Effective()); strings.Contains(out, env.RedactKey) {
		t.Error("the key is in the report of the settings")
	}
	if rules, err := NewRedaction(Default()); rules != nil || err != nil {
		t.Errorf("without settings: %v, %v, want no rules", rules, err)
	}
}
