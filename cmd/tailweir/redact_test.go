package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tailweir/golden"
	"tailweir/otlp"
)

const redactSample = "../../docs/redaction.yaml"

func redactEnv(key string) string {
	return map[string]string{"TAILWEIR_REDACT_KEY": "0123456789abcdef0123456789abcdef"}[key]
}

// redactOutput runs tailweir redact.
func redactOutput(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	out, errs := taken(t, &os.Stdout), taken(t, &os.Stderr)
	err = run(t.Context(), append([]string{"redact"}, args...), redactEnv)
	return out(), errs(), err
}

// The example in the docs says what it does.
func TestRedact(t *testing.T) {
	stdout, stderr, err := redactOutput(t, "--config", redactSample, "testdata/secrets.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, filepath.Join("testdata", "redact.golden"), stdout+"--- standard error\n"+stderr)
	for _, gone := range []string{"hunter2", "abcdef0123456789", "Yamada", "4711", "CH-123456", "taro@", "1234-5678", "4111", "１２３４", "12345678"} {
		if strings.Contains(stdout+stderr, gone) {
			t.Errorf("%q is still there", gone)
		}
	}
}

// Redacting what is redacted changes nothing, and protobuf comes out as it came in.
func TestRedactAgain(t *testing.T) {
	dir := t.TempDir()
	first := filepath.Join(dir, "first.jsonl")
	if _, _, err := redactOutput(t, "--config", redactSample, "--out", first, "testdata/secrets.jsonl"); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := redactOutput(t, "--config", redactSample, first)
	if err != nil || again != string(want) {
		t.Errorf("redacting again: %v\n%s\nwant\n%s", err, again, want)
	}
	src, err := os.ReadFile("testdata/secrets.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	spans, records, _ := bytes.Cut(src, []byte("\n"))
	var framed []byte
	for signal, line := range map[otlp.Signal][]byte{otlp.Traces: spans, otlp.Logs: records} {
		b, err := otlp.FromJSON(signal, line)
		if err != nil {
			t.Fatal(err)
		}
		framed = append(binary.BigEndian.AppendUint32(framed, uint32(len(b))), b...)
		one := filepath.Join(dir, signal.String()+".pb")
		if err := os.WriteFile(one, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, _, err := redactOutput(t, "--config", redactSample, one)
		if err != nil {
			t.Fatal(err)
		}
		if js, err := otlp.ToJSON(signal, []byte(out)); err != nil || !bytes.Contains(want, js) {
			t.Errorf("%s as protobuf: %v\n%s", signal, err, js)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "framed.pb"), framed, 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := redactOutput(t, "--config", redactSample, filepath.Join(dir, "framed.pb"))
	if n := binary.BigEndian.Uint32([]byte(out)); err != nil || int(n) >= len(out) || strings.Contains(out, "hunter2") {
		t.Errorf("%d bytes with a first length of %d, %v", len(out), n, err)
	}
}

func TestRedactReportOnly(t *testing.T) {
	stdout, stderr, err := redactOutput(t, "--config", redactSample, "--report-only", "testdata/secrets.jsonl")
	if err != nil || stdout != "" || !strings.Contains(stderr, "http.request.header.authorization (1)") {
		t.Errorf("%v\n%s\n%s", err, stdout, stderr)
	}
}

func TestRedactFaults(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	nothing := file("nothing.yaml", "project: p\n")
	faulty := file("faulty.yaml", "ingest: {redact: {rules: [{name: a, key_pattern: '('}]}}\n")
	short := file("short.yaml", "ingest: {redact: {hash_key_file: "+file("key", "short\n")+", sets: [{name: email, action: hash}]}}\n")
	gone := file("gone.yaml", "ingest: {redact: {hash_key_file: "+dir+"/none, sets: [{name: email, action: hash}]}}\n")
	for want, args := range map[string][]string{
		"want --config FILE":                       {"testdata/secrets.jsonl"},
		"no traces given":                          {"--config", redactSample},
		"says nothing under ingest.redact":         {"--config", nothing, "testdata/secrets.jsonl"},
		"faulty.yaml:1:50: ingest.redact.rules[0]": {"--config", faulty, "testdata/secrets.jsonl"},
		"needs a key of at least 16 bytes":         {"--config", short, "testdata/secrets.jsonl"},
		"hash_key_file: open":                      {"--config", gone, "testdata/secrets.jsonl"},
		"exists":                                   {"--config", redactSample, "--out", faulty, "testdata/secrets.jsonl"},
		"writes nothing":                           {"--config", redactSample, "--out", "x", "--report-only", "testdata/secrets.jsonl"},
		"no OTLP request":                          {"--config", redactSample, file("other.json", `{"a":1}`)},
	} {
		if _, _, err := redactOutput(t, args...); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "short\n") {
			t.Errorf("%q: error %v, want %q in it", args, err, want)
		}
	}
}
