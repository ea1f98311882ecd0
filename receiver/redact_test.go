package receiver

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"tailweir/otlp"
	"tailweir/redact"
)

var redactKey = []byte("0123456789abcdef0123456789abcdef")

// everyRule is all ready sets, and a rule of each kind.
func everyRule() redact.Config {
	c := redact.Default()
	for _, name := range (redact.SetName("")).Values() {
		c.Sets = append(c.Sets, redact.Set{Name: redact.SetName(name)})
		if name == "email" {
			c.Sets[len(c.Sets)-1].Action = redact.Hash
		}
	}
	c.Rules = []redact.Rule{
		{Name: "by key", Keys: []string{"diagnosis"}},
		{Name: "by key pattern", Key: `patient\..*`, Action: redact.Delete},
		{Name: "by value", Value: `CH-[0-9A-Z]{12}`},
		{Name: "by group", Value: `room ([a-z]{12})`, Action: redact.Hash},
		{Name: "by key and value", Keys: []string{"remark"}, Value: `N[0-9]{12}`},
		{Name: "of a service", Keys: []string{"ward"}, Resource: map[string]string{"service.name": ".+"}},
		{Name: "of a span", Keys: []string{"bed"}, Span: "(?s).*", In: []redact.Where{"span", "event", "link"}},
	}
	return c
}

// secret is a text with a secret in it, and what it becomes.
type secret struct {
	key          string // "" : any
	before, text string
	after        string
	want         string // instead of text; deleted: the whole attribute goes
	deleted      bool
	inSpans      bool // only spans have it
}

type maker func(r *rand.Rand) secret

func letters(r *rand.Rand, n int) string { return pick(r, n, "abcdefghijklmnopqrstuvwxyz") }
func digitsOf(r *rand.Rand, n int) string {
	return pick(r, n, "0123456789")
}

func pick(r *rand.Rand, n int, from string) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = from[r.IntN(len(from))]
	}
	return string(b)
}

const mask = "****"

func hashOf(s string) string {
	mac := hmac.New(sha256.New, redactKey)
	mac.Write([]byte(s))
	return "hmac:" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// checked appends the digit that makes the check good.
func checked(digits string, good func(string) bool) string {
	for d := '0'; d <= '9'; d++ {
		if s := digits + string(d); good(s) {
			return s
		}
	}
	return ""
}

func luhnGood(s string) bool {
	sum := 0
	for i := range s {
		d := int(s[len(s)-1-i] - '0')
		if d *= 1 + i%2; d > 9 {
			d -= 9
		}
		sum += d
	}
	return sum%10 == 0
}

func myNumberGood(s string) bool {
	weights := []int{6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2}
	sum := 0
	for i, w := range weights {
		sum += int(s[i]-'0') * w
	}
	check := 11 - sum%11
	if sum%11 <= 1 {
		check = 0
	}
	return int(s[11]-'0') == check
}

func fours(s string) string {
	return strings.Join([]string{s[:4], s[4:8], s[8:12], s[12:]}, []string{" ", "-"}[len(s)%2])
}

// makers make what each ready set finds, and each rule of everyRule.
var makers = map[string]maker{
	"bearer": func(r *rand.Rand) secret {
		return secret{before: "sent Bearer ", text: "A1" + letters(r, 20), after: " to it", want: mask}
	},
	"jwt": func(r *rand.Rand) secret {
		return secret{before: "x ", text: "eyJ" + letters(r, 20) + "." + letters(r, 20) + "." + letters(r, 20), after: ",", want: mask}
	},
	"query": func(r *rand.Rand) secret {
		return secret{before: "https://a.example/b?api_key=", text: letters(r, 16), after: "&page=2", want: mask}
	},
	"password": func(r *rand.Rand) secret {
		return secret{before: "postgres://app:", text: letters(r, 16), after: "@db:5432/x", want: mask}
	},
	"authorization": func(r *rand.Rand) secret {
		return secret{key: "http.request.header.authorization", text: letters(r, 16), want: mask}
	},
	"metadata": func(r *rand.Rand) secret {
		return secret{key: "rpc.grpc.request.metadata.authorization", text: letters(r, 16), want: mask}
	},
	"cookie": func(r *rand.Rand) secret {
		return secret{key: "http.request.header.cookie", text: "a=" + letters(r, 16), want: mask}
	},
	"cookie in a text": func(r *rand.Rand) secret {
		return secret{before: "Cookie: ", text: "a=" + letters(r, 16) + "; b=" + letters(r, 9), want: mask}
	},
	"email": func(r *rand.Rand) secret {
		s := letters(r, 12) + "@" + letters(r, 8) + "." + letters(r, 8) + ".jp"
		return secret{before: "mail to ", text: s, after: " failed", want: hashOf(s)}
	},
	"phone_jp": func(r *rand.Rand) secret {
		return secret{before: "tel ", text: "090-" + digitsOf(r, 4) + "-" + digitsOf(r, 4), after: " called", want: mask}
	},
	"phone_intl": func(r *rand.Rand) secret {
		return secret{before: "tel +", text: "1" + pick(r, 3, "23456789") + digitsOf(r, 7), after: " called", want: mask}
	},
	"insurance_jp": func(r *rand.Rand) secret {
		return secret{before: "被保険者番号：", text: digitsOf(r, 8), after: "です", want: mask}
	},
	"insurer": func(r *rand.Rand) secret {
		return secret{before: "insurer ", text: checked("0613"+digitsOf(r, 3), luhnGood), after: " x", want: mask}
	},
	"my_number_jp": func(r *rand.Rand) secret {
		for {
			if s := checked("3"+digitsOf(r, 10), func(s string) bool { return len(s) == 12 && myNumberGood(s) }); s != "" {
				return secret{before: "no ", text: s, after: ".", want: mask}
			}
		}
	},
	"ssn_us": func(r *rand.Rand) secret {
		return secret{before: "ssn ", text: "1" + digitsOf(r, 2) + "-1" + digitsOf(r, 1) + "-2" + digitsOf(r, 3), after: " ok", want: mask}
	},
	"cards": func(r *rand.Rand) secret {
		s := checked("4"+digitsOf(r, 14), luhnGood)
		if r.IntN(2) == 0 {
			s = fours(s)
		}
		return secret{before: "paid by ", text: s, after: " today", want: mask}
	},
	"by key": func(r *rand.Rand) secret { return secret{key: "diagnosis", text: letters(r, 16), want: mask} },
	"by key pattern": func(r *rand.Rand) secret {
		return secret{key: "patient." + pick(r, 3, "bdghjk"), text: letters(r, 16), deleted: true}
	},
	"by value": func(r *rand.Rand) secret {
		return secret{before: "chart ", text: "CH-" + pick(r, 12, "ABCDEFGHIJ0123456789"), after: "!", want: mask}
	},
	"by group": func(r *rand.Rand) secret {
		s := letters(r, 12)
		return secret{before: "room ", text: s, after: "!", want: hashOf(s)}
	},
	"by key and value": func(r *rand.Rand) secret {
		return secret{key: "remark", before: "see ", text: "N" + digitsOf(r, 12), after: ".", want: mask}
	},
	"of a service": func(r *rand.Rand) secret { return secret{key: "ward", text: letters(r, 16), want: mask} },
	"of a span":    func(r *rand.Rand) secret { return secret{key: "bed", text: letters(r, 16), want: mask, inSpans: true} },
}

// planter puts secrets, or what becomes of them, at random places. Two of one seed put them at the same ones.
type planter struct {
	r       *rand.Rand
	shown   bool
	needles []string
}

func (p *planter) secret(names []string) secret {
	s := makers[names[p.r.IntN(len(names))]](p.r)
	p.needles = append(p.needles, s.text)
	return s
}

func (p *planter) text(s secret) string {
	if p.shown {
		return s.before + s.text + s.after
	}
	return s.before + s.want + s.after
}

// attribute puts a secret into m, in some form.
func (p *planter) attribute(m pcommon.Map, names []string) {
	s := p.secret(names)
	key := s.key
	if key == "" {
		key = "note." + pick(p.r, 4, "bdghjk")
	}
	form := p.r.IntN(4)
	if s.deleted && !p.shown {
		if form == 2 {
			m.PutEmptyMap("outer."+pick(p.r, 3, "bdghjk")).PutStr("other", "x")
		}
		return
	}
	whole := s.key != "" && s.before == "" // the value goes, whatever it is
	switch {
	case form == 1 && !s.deleted:
		l := m.PutEmptySlice(key)
		l.AppendEmpty().SetStr(p.text(s))
		if l.AppendEmpty().SetStr("other"); whole && !p.shown {
			l.At(1).SetStr(mask)
		}
	case form == 2:
		in := m.PutEmptyMap("outer." + pick(p.r, 3, "bdghjk"))
		in.PutStr(key, p.text(s))
		in.PutStr("other", "x")
	case form == 3 && !whole && !s.deleted:
		m.PutEmptyBytes(key).FromRaw([]byte(p.text(s)))
	default:
		m.PutStr(key, p.text(s))
	}
}

// free are the makers whose secret needs no key.
func free() (names []string) {
	for name, make := range makers {
		if make(rand.New(rand.NewPCG(1, 1))).key == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func inSpan(names []string, want bool) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !want && makers[n](rand.New(rand.NewPCG(1, 1))).inSpans })
}

func (p *planter) traces(td ptrace.Traces, names []string) {
	rs := td.ResourceSpans().At(p.r.IntN(td.ResourceSpans().Len()))
	ss := rs.ScopeSpans().At(p.r.IntN(rs.ScopeSpans().Len()))
	s := ss.Spans().At(p.r.IntN(ss.Spans().Len()))
	for range 1 + p.r.IntN(4) {
		switch p.r.IntN(8) {
		case 0:
			p.attribute(rs.Resource().Attributes(), inSpan(names, false))
		case 1:
			p.attribute(ss.Scope().Attributes(), inSpan(names, false))
		case 2:
			p.attribute(s.Attributes(), names)
		case 3:
			e := s.Events().AppendEmpty()
			e.SetName(p.text(p.secret(free())))
			p.attribute(e.Attributes(), names)
		case 4:
			p.attribute(s.Links().AppendEmpty().Attributes(), names)
		case 5:
			s.SetName(p.text(p.secret(free())))
		case 6:
			s.Status().SetMessage(p.text(p.secret(free())))
		case 7:
			p.attribute(s.Attributes(), names)
			p.attribute(s.Attributes(), names)
		}
	}
}

func (p *planter) logs(ld plog.Logs, names []string) {
	rl := ld.ResourceLogs().At(p.r.IntN(ld.ResourceLogs().Len()))
	sl := rl.ScopeLogs().At(p.r.IntN(rl.ScopeLogs().Len()))
	rec := sl.LogRecords().At(p.r.IntN(sl.LogRecords().Len()))
	names = inSpan(names, false)
	for range 1 + p.r.IntN(4) {
		switch p.r.IntN(6) {
		case 0:
			p.attribute(rl.Resource().Attributes(), names)
		case 1:
			p.attribute(sl.Scope().Attributes(), names)
		case 2:
			p.attribute(rec.Attributes(), names)
		case 3:
			rec.Body().SetStr(p.text(p.secret(free())))
		case 4:
			p.attribute(rec.Body().SetEmptyMap(), names)
		case 5:
			rec.Body().SetStr(fmt.Sprintf(`{"level":"info","msg":%q,"n":1}`, p.text(p.secret(free()))))
		}
	}
}

// metrics plants into points of every kind, exemplars, and metadata.
func (p *planter) metrics(md pmetric.Metrics, names []string) {
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	sm := rm.ScopeMetrics().AppendEmpty()
	names = inSpan(names, false)
	for i := range 5 {
		m := sm.Metrics().AppendEmpty()
		m.SetName(fmt.Sprintf("shop.orders.%d", i))
		var point, exemplar pcommon.Map
		switch i {
		case 0:
			at := m.SetEmptyGauge().DataPoints().AppendEmpty()
			at.SetIntValue(7)
			point, exemplar = at.Attributes(), at.Exemplars().AppendEmpty().FilteredAttributes()
		case 1:
			at := m.SetEmptySum().DataPoints().AppendEmpty()
			at.SetDoubleValue(0.5)
			point, exemplar = at.Attributes(), at.Exemplars().AppendEmpty().FilteredAttributes()
		case 2:
			at := m.SetEmptyHistogram().DataPoints().AppendEmpty()
			at.BucketCounts().FromRaw([]uint64{1, 2})
			at.ExplicitBounds().FromRaw([]float64{1})
			point, exemplar = at.Attributes(), at.Exemplars().AppendEmpty().FilteredAttributes()
		case 3:
			at := m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty()
			at.Positive().BucketCounts().FromRaw([]uint64{3, 4})
			point, exemplar = at.Attributes(), at.Exemplars().AppendEmpty().FilteredAttributes()
		case 4:
			at := m.SetEmptySummary().DataPoints().AppendEmpty()
			at.QuantileValues().AppendEmpty().SetQuantile(0.9)
			point, exemplar = at.Attributes(), m.Metadata()
		}
		for _, m := range []pcommon.Map{point, exemplar} {
			if p.r.IntN(3) == 0 {
				p.attribute(m, names)
			}
		}
	}
	p.attribute(rm.Resource().Attributes(), names)
	p.attribute(sm.Scope().Attributes(), names)
}

// recordedRequest is what an SDK has sent, or metrics of every kind, with what was planted.
func recordedRequest(t *testing.T, sdk string, signal otlp.Signal, p *planter, names []string) exportRequest {
	t.Helper()
	if signal == otlp.Metrics {
		req := pmetricotlp.NewExportRequestFromMetrics(pmetric.NewMetrics())
		p.metrics(req.Metrics(), names)
		return req
	}
	b, err := os.ReadFile("../exporter/testdata/recorded/" + sdk + "-" + signal.String() + ".pb")
	if err != nil {
		t.Fatal(err)
	}
	if signal == otlp.Logs {
		req := plogotlp.NewExportRequest()
		if err := req.UnmarshalProto(b); err != nil {
			t.Fatal(err)
		}
		p.logs(req.Logs(), names)
		return req
	}
	req := ptraceotlp.NewExportRequest()
	if err := req.UnmarshalProto(b); err != nil {
		t.Fatal(err)
	}
	p.traces(req.Traces(), names)
	return req
}

// normal is the payload as pdata writes it.
func normal(t *testing.T, signal otlp.Signal, b []byte) []byte {
	t.Helper()
	var req interface {
		exportRequest
		UnmarshalProto([]byte) error
	} = ptraceotlp.NewExportRequest()
	switch signal {
	case otlp.Logs:
		req = plogotlp.NewExportRequest()
	case otlp.Metrics:
		req = pmetricotlp.NewExportRequest()
	}
	if err := req.UnmarshalProto(b); err != nil {
		t.Fatal(err)
	}
	return encoded(t, req)
}

// TestRedaction puts secrets of every ready set and every kind of rule at random places of what SDKs have sent, and of metrics, sends it every
// way, and wants nothing of a secret in any message, and everything else as it was.
func TestRedaction(t *testing.T) {
	rules, err := redact.New(everyRule(), redactKey)
	if err != nil {
		t.Fatal(err)
	}
	pub := new(shelf)
	_, addr := open(t, pub, Config{Rewriter: rules, Metrics: pub})
	var names []string
	for name := range makers {
		names = append(names, name)
	}
	slices.Sort(names)
	sent := 0
	for seed := range uint64(225) {
		sdk := []string{"node", "go", "java"}[seed%3]
		signal := []otlp.Signal{otlp.Traces, otlp.Logs, otlp.Metrics}[seed/3%3]
		plant := &planter{r: rand.New(rand.NewPCG(seed, 8)), shown: true}
		request := recordedRequest(t, sdk, signal, plant, names)
		clean := recordedRequest(t, sdk, signal, &planter{r: rand.New(rand.NewPCG(seed, 8))}, names)
		want := normal(t, signal, encoded(t, clean))
		for _, w := range []way{ways[seed%8], ways[(seed+3)%8]} {
			body := encoded(t, request)
			if w.encoding == JSON {
				body = asJSON(t, request)
			}
			if r := w.send(t, addr, signal, body); r.Text != "" {
				t.Fatalf("seed %d, %s: %+v", seed, w.name, r)
			}
			sent++
			all := pub.all()
			if len(all) != sent {
				t.Fatalf("%d messages, want %d", len(all), sent)
			}
			data := all[sent-1].Data
			if all[sent-1].Attrs[otlp.AttrContentEncoding] == otlp.EncodingGzip {
				data = unzip(t, data)
			}
			for _, n := range plant.needles {
				if part := shown(data, n); part != "" {
					t.Errorf("seed %d, %s %s, %s: %q of the secret %q is published", seed, sdk, signal, w.name, part, n)
				}
			}
			if got := normal(t, signal, data); !bytes.Equal(got, want) {
				t.Fatalf("seed %d, %s %s, %s: %s", seed, sdk, signal, w.name, around(got, want))
			}
		}
	}
	for _, c := range rules.Stats().Rules {
		if c.Matches == 0 {
			t.Errorf("rule %s was never asked", c.Rule)
		}
	}
}

// around is where two payloads begin to differ, from behind: pdata writes lengths in front.
func around(got, want []byte) string {
	n := 0
	for n < min(len(got), len(want)) && got[len(got)-1-n] == want[len(want)-1-n] {
		n++
	}
	cut := func(b []byte) []byte { return b[max(0, len(b)-n-100):min(len(b), len(b)-n+60)] }
	return fmt.Sprintf("\ngot  …%q…\nwant …%q…", cut(got), cut(want))
}

// shown is a part of the secret that is in data, of eight bytes if it has so many.
func shown(data []byte, secret string) string {
	n := min(8, len(secret))
	for i := 0; i+n <= len(secret); i++ {
		if bytes.Contains(data, []byte(secret[i:i+n])) {
			return secret[i : i+n]
		}
	}
	return ""
}

// What cannot be redacted is refused every way, and nothing of it is published.
func TestRedactionThatFails(t *testing.T) {
	pub := new(shelf)
	r, addr := open(t, pub, Config{Rewriter: failing{}})
	for _, w := range ways {
		request := spansOf(1, 3, nil)
		body := encoded(t, request)
		if w.encoding == JSON {
			body = asJSON(t, request)
		}
		if got := w.send(t, addr, otlp.Traces, body); !strings.Contains(got.Text, "could not be redacted") {
			t.Errorf("%s: %+v", w.name, got)
		}
	}
	if len(pub.all()) != 0 {
		t.Errorf("%d messages published", len(pub.all()))
	}
	for _, c := range r.Stats().Requests {
		if c.Outcome != Malformed {
			t.Errorf("%+v, want it refused as malformed: a repeat would fail as well", c)
		}
	}
}

type failing struct{}

func (failing) Rewrite(otlp.Signal, []byte) ([]byte, error) { return nil, redact.ErrRedact }
