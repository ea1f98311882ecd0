package redact

import (
	"bytes"
	"os"
	"testing"
	"time"

	"tailweir/otlp"
)

// everything is all sets and a rule of each kind.
const everything = `redact:
  sets: [secrets, {name: cookies, action: delete}, {name: email, action: hash}, {name: phone_jp, keep_last: 4}, phone_intl, insurance_jp, my_number_jp, ssn_us, {name: cards, keep_last: 4}]
  rules:
  - {name: key, keys: [k, service.name], action: hash}
  - {name: keypattern, key_pattern: 's.*', action: delete}
  - {name: value, value_pattern: '[a-f][0-9]+'}
  - {name: group, value_pattern: 'x(y+)z?', action: delete}
  - {name: both, keys: [m, l], value_pattern: '[k-t]+', action: hash}
  - {name: conditional, keys: [e], resource: {service.name: 'a.*'}, span_name: 'G.*'}
  unknown_fields: drop
`

// checkRewrite holds for all bytes: no panic, what could be scanned can be, with as many items, and redacting again changes
// nothing.
func checkRewrite(t *testing.T, r *Rules, signal otlp.Signal, b []byte) {
	t.Helper()
	out, err := r.Rewrite(signal, b)
	if s := r.Stats(); s.Panics > 0 {
		t.Fatal("a panic")
	}
	var p otlp.Payload
	if p.Scan(signal, b) != nil {
		return
	}
	if err != nil {
		t.Fatalf("Rewrite: %v, but it can be scanned", err)
	}
	items := p.Len()
	if err := p.Scan(signal, out); err != nil || p.Len() != items {
		t.Fatalf("the output has %d items, want %d; %v", p.Len(), items, err)
	}
	again, err := r.Rewrite(signal, out)
	if err != nil || !bytes.Equal(again, out) {
		t.Fatalf("redacting again: %v\n%q\n%q", err, out, again)
	}
}

func FuzzRewriteTraces(f *testing.F) { fuzzRewrite(f, otlp.Traces) }

func FuzzRewriteLogs(f *testing.F) { fuzzRewrite(f, otlp.Logs) }

func fuzzRewrite(f *testing.F, signal otlp.Signal) {
	for _, sdk := range []string{"node", "go", "java"} {
		b, err := os.ReadFile("../exporter/testdata/recorded/" + sdk + "-" + signal.String() + ".pb")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 4000)])
	}
	r := mustRules(f, everything)
	f.Fuzz(func(t *testing.T, b []byte) { checkRewrite(t, r, signal, b) })
}

// FuzzText puts any text into a span and wants nothing found in it afterwards.
func FuzzText(f *testing.F) {
	for _, corpus := range texts {
		for _, s := range corpus.recall {
			text, _ := marked(s)
			f.Add(text)
		}
	}
	r := mustRules(f, everything)
	f.Fuzz(func(t *testing.T, s string) {
		text := []byte(s)
		for _, held := range []bool{false, true} {
			out, changed, remove := new(rewriter).apply(text, r.rules, ^uint64(0), held, r.hasher, func(*rule, int) {})
			switch {
			case remove:
				continue
			case !changed && !bytes.Equal(out, text):
				t.Fatalf("%q became %q unsaid", text, out)
			}
			out = bytes.Clone(out)
			if again, changed, remove := new(rewriter).apply(out, r.rules, ^uint64(0), false, r.hasher, func(*rule, int) {}); changed && !bytes.Equal(again, out) || remove {
				t.Fatalf("%q → %q → %q", text, out, again)
			}
		}
	})
}

// No text takes more than time in proportion to its length: ten times as much takes about ten times as long, not a hundred times.
func TestLongTexts(t *testing.T) {
	r := mustRules(t, everything)
	took := func(text []byte) time.Duration {
		best := time.Hour
		for range 3 {
			start := time.Now()
			new(rewriter).apply(text, r.rules, ^uint64(0), false, r.hasher, func(*rule, int) {})
			best = min(best, time.Since(start))
		}
		return best
	}
	for _, piece := range []string{"eyJ-", "token=", "token=a&", "a@", "a%40", "-----BEGIN PRIVATE KEY", "://", "1 ", "1-", "被保険者番号",
		`"token":"`, `\"`, "b-", "sk-ant-", "a.1.", "hmac:", "bearer ", "%3D", "password: [", "h"} {
		short, long := took(bytes.Repeat([]byte(piece), 400)), took(bytes.Repeat([]byte(piece), 4000))
		if long > 50*short+20*time.Millisecond {
			t.Errorf("%q: %v for 400 of them, %v for 4000", piece, short, long)
		}
	}
}
