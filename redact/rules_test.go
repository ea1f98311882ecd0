package redact

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"tailweir/otlp"
	"tailweir/strictyaml"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

// document is a file with the settings under redact.
type document struct {
	Redact Config `yaml:"redact"`
}

func parse(src string) (Config, error) {
	doc := document{Redact: Default()}
	d := strictyaml.NewDecoder("redact.yaml")
	if top := d.Document([]byte(src)); top != nil {
		d.Decode(top, "", &doc)
	}
	doc.Redact.Check(d, "redact")
	return doc.Redact, d.Err()
}

func mustRules(t testing.TB, src string) *Rules {
	t.Helper()
	c, err := parse(src)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(c, testKey)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hashOf(s string) string {
	mac := hmac.New(sha256.New, testKey)
	mac.Write([]byte(s))
	return "hmac:" + hex.EncodeToString(mac.Sum(nil)[:16])
}

const aTrace = `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},%s]},"scopeSpans":[{"scope":{"name":"lib"},"spans":[` +
	`{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"GET /a","attributes":[%s]}]}]}]}`

// redacted is the attributes of the one span of the trace with these, as JSON, after the rules.
func redacted(t *testing.T, r *Rules, attributes string) string {
	t.Helper()
	return redactedIn(t, r, `{"key":"r","value":{"stringValue":"r"}}`, attributes)
}

func redactedIn(t *testing.T, r *Rules, resource, attributes string) string {
	t.Helper()
	payload, err := otlp.FromJSON(otlp.Traces, fmt.Appendf(nil, aTrace, resource, attributes))
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Rewrite(otlp.Traces, payload)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Rewrite(otlp.Traces, out); err != nil || string(again) != string(out) {
		t.Errorf("redacting again changes the payload, or fails: %v", err)
	}
	td, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(out)
	if err != nil {
		t.Fatal(err)
	}
	js, _ := (&ptrace.JSONMarshaler{}).MarshalTraces(td)
	_, spans, _ := strings.Cut(string(js), `"spans":[`)
	_, attrs, ok := strings.Cut(spans, `"attributes":[`)
	if !ok {
		return ""
	}
	attrs, _, _ = strings.Cut(attrs, `],"status"`)
	return strings.NewReplacer(`"value":`, "", `"key":`, "", `"stringValue":`, "").Replace(attrs)
}

func TestRules(t *testing.T) {
	str := func(k, v string) string { return fmt.Sprintf(`{"key":%q,"value":{"stringValue":%q}}`, k, v) }
	for _, tt := range []struct{ name, rules, in, want string }{
		{"mask by key", `rules: [{name: r, keys: [k]}]`, str("k", "secret") + "," + str("kk", "open"), `{"k",{"****"}},{"kk",{"open"}}`},
		{"the last ones stay", `rules: [{name: r, keys: [k], keep_last: 4}]`, str("k", "0123456789"), `{"k",{"****6789"}}`},
		{"but half is hidden", `rules: [{name: r, keys: [k], keep_last: 4}]`, str("k", "12345"), `{"k",{"****45"}}`},
		{"in characters", `rules: [{name: r, keys: [k], keep_last: 2}]`, str("k", "山田太郎"), `{"k",{"****太郎"}}`},
		{"delete", `rules: [{name: r, keys: [k], action: delete}]`, str("k", "secret") + "," + str("b", "c"), `{"b",{"c"}}`},
		{"hash", `rules: [{name: r, keys: [k], action: hash}]`, str("k", "secret"), `{"k",{"` + hashOf("secret") + `"}}`},
		{"numbers", `rules: [{name: r, keys: [k], action: hash}]`, `{"key":"k","value":{"intValue":"42"}}`, `{"k",{"` + hashOf("42") + `"}}`},
		{"truth", `rules: [{name: r, keys: [k]}]`, `{"key":"k","value":{"boolValue":true}}`, `{"k",{"****"}}`},
		{"bytes", `rules: [{name: r, keys: [k], action: hash}]`, `{"key":"k","value":{"bytesValue":"c2VjcmV0"}}`, `{"k",{"` + hashOf("secret") + `"}}`},
		{"lists keep their length", `rules: [{name: r, keys: [k]}]`, `{"key":"k","value":{"arrayValue":{"values":[{"stringValue":"a"},{"intValue":"1"}]}}}`,
			`{"k",{"arrayValue":{"values":[{"****"},{"****"}]}}}`},
		{"maps go whole", `rules: [{name: r, keys: [k]}]`, `{"key":"k","value":{"kvlistValue":{"values":[` + str("a", "b") + `]}}}`, `{"k",{"****"}}`},
		{"keys in maps", `rules: [{name: r, keys: [k], action: delete}]`, `{"key":"m","value":{"kvlistValue":{"values":[` + str("k", "b") + "," + str("l", "c") + `]}}}`,
			`{"m",{"kvlistValue":{"values":[{"l",{"c"}}]}}}`},
		{"a key pattern is for the whole key", `rules: [{name: r, key_pattern: 'p\.[a-z]+'}]`, str("p.ab", "1") + "," + str("xp.ab", "2") + "," + str("p.ab1", "3"),
			`{"p.ab",{"****"}},{"xp.ab",{"2"}},{"p.ab1",{"3"}}`},
		{"a value pattern is for a part", `rules: [{name: r, value_pattern: 'P-\d+'}]`, str("k", "see P-123, P-4"), `{"k",{"see ****, ****"}}`},
		{"or for its group", `rules: [{name: r, value_pattern: 'id=(\d+)', action: hash}]`, str("k", "id=12;x"), `{"k",{"id=` + hashOf("12") + `;x"}}`},
		{"values in lists", `rules: [{name: r, value_pattern: 'P-\d+'}]`, `{"key":"k","value":{"arrayValue":{"values":[{"stringValue":"P-1"},{"stringValue":"b"}]}}}`,
			`{"k",{"arrayValue":{"values":[{"****"},{"b"}]}}}`},
		{"delete by value", `rules: [{name: r, value_pattern: 'P-\d+', action: delete}]`, str("k", "see P-123") + "," + str("b", "c"), `{"b",{"c"}}`},
		{"both", `rules: [{name: r, keys: [k], value_pattern: 'P-\d+'}]`, str("k", "see P-123") + "," + str("b", "P-9"), `{"k",{"see ****"}},{"b",{"P-9"}}`},
		{"both, nested", `rules: [{name: r, keys: [k], value_pattern: 'P-\d+'}]`, `{"key":"k","value":{"kvlistValue":{"values":[` + str("a", "P-1") + `]}}}`,
			`{"k",{"kvlistValue":{"values":[{"a",{"****"}}]}}}`},
		{"elsewhere", `rules: [{name: r, keys: [k], in: [resource, log]}]`, str("k", "open"), `{"k",{"open"}}`},
		{"of another span", `rules: [{name: r, keys: [k], span_name: 'GET'}]`, str("k", "open"), `{"k",{"open"}}`},
		{"of this span", `rules: [{name: r, keys: [k], span_name: 'GET .*'}]`, str("k", "secret"), `{"k",{"****"}}`},
		{"of another service", `rules: [{name: r, keys: [k], resource: {service.name: sho}}]`, str("k", "open"), `{"k",{"open"}}`},
		{"of this service", `rules: [{name: r, keys: [k], resource: {service.name: shop|cart}}]`, str("k", "secret"), `{"k",{"****"}}`},
		{"the first counts", `rules: [{name: r, keys: [k], action: hash}, {name: s, keys: [k]}]`, str("k", "secret"), `{"k",{"` + hashOf("secret") + `"}}`},
		{"one after the other", `rules: [{name: r, value_pattern: 'a+'}, {name: s, value_pattern: 'b+'}]`, str("k", "xaxbx"), `{"k",{"x****x****x"}}`},
		{"what comes to light", `rules: [{name: r, in: [span], value_pattern: 'XX', action: mask}]`, str("k", "XXX"), `{"k",{"****X"}}`},
		{"what grows is hidden", `rules: [{name: r, value_pattern: '\*'}]`, str("k", "a*b"), `{"k",{"****"}}`},
		{"nothing in the place of nothing", `rules: [{name: r, keys: [k]}]`, str("k", ""), `{"k",{""}}`},
		{"allowed", `allow: {keys: [a], patterns: ['http\..*']}`, str("a", "1") + "," + str("b", "2") + "," + str("http.route", "3") + "," + str("service.name", "4"),
			`{"a",{"1"}},{"http.route",{"3"}},{"service.name",{"4"}}`},
		{"allowed without required", `allow: {keys: [a], required: []}`, str("a", "1") + "," + str("service.name", "4"), `{"a",{"1"}}`},
		{"not allowed, masked", `allow: {keys: [a], action: mask}`, str("b", "2"), `{"b",{"****"}}`},
		{"allowed, and a rule", `{allow: {keys: [a]}, rules: [{name: r, keys: [a]}]}`, str("a", "1"), `{"a",{"****"}}`},
		{"allowed elsewhere", `allow: {keys: [a], in: [resource]}`, str("b", "2"), `{"b",{"2"}}`},
		{"a set", `sets: [email]`, str("k", "to a@b.org now") + "," + str("user.email", "x"), `{"k",{"to **** now"}},{"user.email",{"****"}}`},
		{"a set with an action", `sets: [{name: cards, keep_last: 4}]`, str("k", "4111 1111 1111 1111"), `{"k",{"****1111"}}`},
		{"a set in its place", `sets: [{name: email, in: [body]}]`, str("k", "a@b.org"), `{"k",{"a@b.org"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := redacted(t, mustRules(t, "redact: "+indent(tt.rules)), tt.in); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func indent(s string) string {
	if strings.HasPrefix(s, "{") {
		return s
	}
	return "\n  " + s
}

// The resource may stand behind what is of it, as pdata writes it, and conditions are about what it was before.
func TestConditionsSeeTheResourceAsItCame(t *testing.T) {
	r := mustRules(t, "redact: {rules: [{name: n, keys: [service.name]}, {name: r, keys: [k], resource: {service.name: shop}}]}")
	if got := redacted(t, r, `{"key":"k","value":{"stringValue":"secret"}}`); got != `{"k",{"****"}}` {
		t.Errorf("got %s", got)
	}
}

// A text in which one span's rules found nothing is looked at again for another's.
func TestTextsAreCleanForTheirRulesAlone(t *testing.T) {
	r := mustRules(t, "redact: {rules: [{name: r, value_pattern: 'P-[0-9]+', span_name: second}, {name: s, value_pattern: 'Q'}]}")
	const span = `{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":%q,"attributes":[{"key":"k","value":{"stringValue":"see P-1"}}]}`
	payload, err := otlp.FromJSON(otlp.Traces, fmt.Appendf(nil, `{"resourceSpans":[{"scopeSpans":[{"spans":[`+span+","+span+","+span+`]}]}]}`, "first", "second", "third"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out, err := r.Rewrite(otlp.Traces, payload)
		if err != nil {
			t.Fatal(err)
		}
		if masked, left := bytes.Count(out, []byte("see ****")), bytes.Count(out, []byte("see P-1")); masked != 1 || left != 2 {
			t.Errorf("%d masked, %d left, want 1 and 2", masked, left)
		}
	}
}

func TestBodies(t *testing.T) {
	for _, tt := range []struct{ name, rules, in, want string }{
		{"a part is removed", `rules: [{name: r, value_pattern: 'P-\d+', action: delete}]`, `{"stringValue":"see P-1!"}`, `{"stringValue":"see !"}`},
		{"an entry is removed", `rules: [{name: r, value_pattern: 'P-\d+', action: delete}]`, `{"kvlistValue":{"values":[{"key":"a","value":{"stringValue":"P-1"}}]}}`, `{"kvlistValue":{}}`},
		{"keys of a map", `rules: [{name: r, keys: [password]}]`, `{"kvlistValue":{"values":[{"key":"password","value":{"stringValue":"x"}}]}}`,
			`{"kvlistValue":{"values":[{"key":"password","value":{"stringValue":"****"}}]}}`},
		{"JSON as a text", `sets: [secrets]`, `{"stringValue":"{\"password\":\"a b\",\"n\":1}"}`, `{"stringValue":"{\"password\":\"****\",\"n\":1}"}`},
		{"allow lists are not for bodies", `allow: {keys: [a]}`, `{"kvlistValue":{"values":[{"key":"b","value":{"stringValue":"x"}}]}}`,
			`{"kvlistValue":{"values":[{"key":"b","value":{"stringValue":"x"}}]}}`},
		{"not here", `rules: [{name: r, value_pattern: 'P-\d+', in: [attributes]}]`, `{"stringValue":"P-1"}`, `{"stringValue":"P-1"}`},
		{"what comes to light", `rules: [{name: r, value_pattern: 'ab', action: delete}]`, `{"stringValue":"xaaabbbx"}`, `{"stringValue":"xx"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			payload, err := otlp.FromJSON(otlp.Logs, []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":`+tt.in+`}]}]}]}`))
			if err != nil {
				t.Fatal(err)
			}
			out, err := mustRules(t, "redact:"+indent(tt.rules)).Rewrite(otlp.Logs, payload)
			if err != nil {
				t.Fatal(err)
			}
			ld, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(out)
			if err != nil {
				t.Fatal(err)
			}
			js, _ := (&plog.JSONMarshaler{}).MarshalLogs(ld)
			_, got, _ := strings.Cut(string(js), `"body":`)
			got, _, _ = strings.Cut(strings.TrimSuffix(got, `}]}]}]}`), `,"traceId"`)
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	_, err := parse(`redact:
  sets: [secrets, cookie, {name: email, action: burn}, secrets, {name: cards, keep_last: 9}]
  rules:
  - {name: a, keys: [k], key_pattern: '(', span_name: '*'}
  - {name: a, keys: [k], action: hash, keep_last: 2}
  - {name: nothing}
  - {name: all, value_pattern: '.*'}
  - {name: email, keys: [k]}
  - {name: b, keys: [k], in: [span_name, spam], resource: {service.name: '['}}
  - {name: c, value_patern: x}
  - {name: d, keys: [k], in: [span_name]}
  allow: {keys: [a], in: [body], patterns: ['+']}
  unknown_fields: burn
`)
	if err == nil {
		t.Fatal("no fault was found")
	}
	for _, want := range []string{
		`redact.yaml:2:19: redact.sets[1]: unknown value "cookie", did you mean "cookies"?`,
		`redact.yaml:2:49: redact.sets[2].action: unknown value "burn"`,
		`redact.yaml:2:56: redact.sets[3]: secrets is given twice`,
		`redact.yaml:2:90: redact.sets[4].keep_last: 9 is out of bounds, want 0 to 8`,
		`redact.yaml:4:39: redact.rules[0].key_pattern: is no RE2 pattern: missing closing ): "("`,
		`redact.yaml:4:55: redact.rules[0].span_name: is no RE2 pattern: missing argument to repetition operator: "*"`,
		`redact.yaml:5:12: redact.rules[1].name: "a" names another rule`,
		`redact.yaml:5:51: redact.rules[1].keep_last: is for the action mask, and this is hash`,
		`redact.yaml:6:12: redact.rules[2].name: rule "nothing" says neither keys nor key_pattern nor value_pattern`,
		`redact.yaml:7:32: redact.rules[3].value_pattern: matches the empty text`,
		`redact.yaml:8:12: redact.rules[4].name: "email" names another rule or a ready set`,
		`redact.yaml:9:42: redact.rules[5].in[1]: unknown value "spam"`,
		`redact.yaml:9:74: redact.rules[5].resource.service.name: is no RE2 pattern`,
		`redact.yaml:10:15: redact.rules[6].value_patern: unknown key, did you mean "value_pattern"?`,
		`redact.yaml:11:30: redact.rules[7].in: has no attributes`,
		`redact.yaml:12:26: redact.allow.in: is about attributes`,
		`redact.yaml:12:45: redact.allow.patterns[0]: is no RE2 pattern`,
		`redact.yaml:13:19: redact.unknown_fields: unknown value "burn"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q in:\n%v", want, err)
		}
	}
}

func TestHashNeedsAKey(t *testing.T) {
	c, err := parse("redact: {sets: [{name: email, action: hash}]}")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "short"} {
		if _, err := New(c, []byte(key)); err == nil || !strings.Contains(err.Error(), "TAILWEIR_REDACT_KEY") || key != "" && strings.Contains(err.Error(), key) {
			t.Errorf("key %q: error %v, want one that names where the key goes, and not the key", key, err)
		}
	}
}

func TestNothingFoundIsTheSameSlice(t *testing.T) {
	r := mustRules(t, "redact: {sets: [secrets, cookies, email, phone_jp, phone_intl, insurance_jp, my_number_jp, ssn_us, cards]}")
	for _, sdk := range []string{"node", "go", "java"} {
		for _, signal := range []otlp.Signal{otlp.Traces, otlp.Logs} {
			b, err := os.ReadFile("../exporter/testdata/recorded/" + sdk + "-" + signal.String() + ".pb")
			if err != nil {
				t.Fatal(err)
			}
			out, err := r.Rewrite(signal, b)
			if err != nil || len(out) != len(b) || &out[0] != &b[0] {
				_, _ = r.Watch(signal, b, func(s Sighting) { t.Logf("%+v", s) })
				t.Errorf("%s %s is changed, or %v", sdk, signal, err)
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.Attributes().PutStr("user.email", "a@b.org")
	p.Exemplars().AppendEmpty().FilteredAttributes().PutStr("note", "card 4111111111111111")
	b, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	if err != nil {
		t.Fatal(err)
	}
	r := mustRules(t, "redact: {sets: [email, cards]}")
	out, err := r.Rewrite(otlp.Metrics, b)
	if err != nil {
		t.Fatal(err)
	}
	p.Attributes().PutStr("user.email", "****")
	p.Exemplars().At(0).FilteredAttributes().PutStr("note", "card ****")
	want, _ := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
	got, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(out)
	if err != nil {
		t.Fatal(err)
	}
	if out, _ := (&pmetric.ProtoMarshaler{}).MarshalMetrics(got); !bytes.Equal(out, want) {
		t.Errorf("got %q, want %q", out, want)
	}
	if n := r.Stats().Rules[0].Items + r.Stats().Rules[1].Items; n != 2 {
		t.Errorf("%d items, want the metric once for each rule", n)
	}
}

func TestStats(t *testing.T) {
	r := mustRules(t, "redact: {sets: [{name: email, action: hash}], rules: [{name: r, keys: [k, service.name]}]}")
	redacted(t, r, `{"key":"k","value":{"stringValue":"secret"}},{"key":"a","value":{"stringValue":"a@b.org, c@d.org"}}`)
	want := Stats{Rules: []Count{{Rule: "r", Action: Mask, Matches: 2, Items: 1}, {Rule: "email", Action: Hash, Matches: 2, Items: 1}}}
	if diff := cmp.Diff(want, r.Stats()); diff != "" {
		t.Error(diff)
	}
}

// A rule that fails refuses the payload, and says nothing of it.
func TestFailures(t *testing.T) {
	r := mustRules(t, "redact: {rules: [{name: r, keys: [k]}]}")
	r.rules[0].key = func([]byte) bool { panic("secret") }
	attribute := `{"key":"k","value":{"stringValue":"secret"}}`
	payload, err := otlp.FromJSON(otlp.Traces, fmt.Appendf(nil, aTrace, attribute, attribute))
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.Rewrite(otlp.Traces, payload)
	if out != nil || !errors.Is(err, ErrRedact) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %q, %v, want nothing and ErrRedact", out, err)
	}
	if s := r.Stats(); s.Failures != 1 || s.Panics != 1 {
		t.Errorf("%d failures, %d panics, want one of each", s.Failures, s.Panics)
	}
	if _, err := r.Rewrite(otlp.Traces, []byte{0xff}); !errors.Is(err, otlp.ErrMalformed) {
		t.Errorf("error %v of what is malformed", err)
	}
	if s := r.Stats(); s.Failures != 1 {
		t.Errorf("what is malformed counts as a failure")
	}
}
