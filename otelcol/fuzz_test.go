package otelcol

import (
	"os"
	"testing"

	"tailweir/sampler"
	"tailweir/service"
)

// Whatever a collector's file says, it is refused or comes to a configuration that Tailweir takes, with the same policies.
func FuzzCarry(f *testing.F) {
	whole, err := os.ReadFile("testdata/otelcol.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(whole), "old", true)
	f.Add(collector(all, "otlphttp/x: {endpoint: 'https://a', headers: {k: '$${x}', \"a b\": {}}, tls: {ca_file: 1}}"), "", false)
	f.Add(collector(`{name: "\u0085# ", type: string_attribute, string_attribute: {key: "0x1", values: ["~", "a: b", "- ", "\t\r\n "]}}`, "otlp/x: {endpoint: '[::1]:1'}"), "", false)
	f.Add("processors: &p {tail_sampling: {<<: *p, policies: []}}", "", false)
	f.Add(collector(all, "otlp/x: &e {endpoint: 'a:1', headers: {k: v}, further: *e}"), "", false)
	f.Fuzz(func(t *testing.T, src, processor string, strict bool) {
		compat := sampler.Compat("")
		if strict {
			compat = sampler.Strict
		}
		file, err := Parse("f", []byte(src))
		if err != nil {
			return
		}
		s, err := file.Sampler(processor)
		if err != nil {
			return
		}
		policies, err := s.Policies(compat)
		if err != nil {
			return
		}
		document, _, err := s.Carry(compat)
		if err != nil {
			t.Fatalf("policies that compile are not carried over: %v", err)
		}
		cfg := service.Default()
		if err := cfg.Parse("carried", document); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		if cfg.Compiled.Hash() != policies.Hash() {
			t.Errorf("other policies:\n%s", document)
		}
	})
}
