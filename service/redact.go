package service

import (
	"bytes"
	"fmt"
	"os"

	"go.opentelemetry.io/otel/attribute"

	"tailweir/redact"
)

// NewRedaction compiles ingest.redact, with the key for hashes where any are made. It is nil when there is nothing to redact.
func NewRedaction(cfg Config) (*redact.Rules, error) {
	c := cfg.Ingest.Redact
	if !c.Given() {
		return nil, nil
	}
	key := []byte(cfg.RedactKey)
	if c.NeedsKey() && c.KeyFile != "" {
		file, err := os.ReadFile(c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("ingest.redact.hash_key_file: %w", err)
		}
		key = bytes.TrimRight(file, "\r\n")
	}
	return redact.New(c, key)
}

// redactInstruments are the metrics of redaction.
func redactInstruments(rules *redact.Rules) []instrument {
	if rules == nil {
		return nil
	}
	each := func(read func(redact.Count) uint64) func(func(int64, ...attribute.KeyValue)) {
		return func(see func(int64, ...attribute.KeyValue)) {
			for _, c := range rules.Stats().Rules {
				see(int64(read(c)), attribute.String("rule", c.Rule), attribute.String("action", string(c.Action)))
			}
		}
	}
	return []instrument{
		{"tailweir.ingest.redacted", "{match}", "Values and parts of texts that were redacted, by rule.", false, each(func(c redact.Count) uint64 { return c.Matches })},
		{"tailweir.ingest.redacted.items", "{item}", "Spans, log records and metrics in which something was redacted, by rule.", false, each(func(c redact.Count) uint64 { return c.Items })},
		{"tailweir.ingest.redact.failures", "{request}", "Requests refused because a rule failed on them.", false, func(see func(int64, ...attribute.KeyValue)) {
			see(int64(rules.Stats().Failures))
		}},
	}
}
