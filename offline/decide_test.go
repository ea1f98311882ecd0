package offline

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/otlp"
	"tailweir/sampler"
)

func policies(t testing.TB, compat sampler.Compat, list string) *sampler.Policies {
	t.Helper()
	p, err := sampler.ParseAs(compat, "p.yaml", []byte("policies: ["+list+"]"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ends is a request of a trace with one span, that ends so long after some time.
func ends(trace byte, after time.Duration) string {
	start := uint64(1e18)
	return fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"01","startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`+"\n", trace, start, start+uint64(after))
}

func report(t *testing.T, p *sampler.Policies, explain bool, files ...string) (lines string, table string, stats Stats) {
	t.Helper()
	traces := New(p)
	for i, f := range files {
		if err := traces.Read(fmt.Sprint("file ", i), strings.NewReader(strings.ReplaceAll(f, `"01"`, `"0000000000000001"`))); err != nil {
			t.Fatal(err)
		}
	}
	verdicts := traces.Decide(explain)
	var out, sum bytes.Buffer
	if err := Write(&out, verdicts); err != nil {
		t.Fatal(err)
	}
	if err := Summarize(verdicts, p.Names()).Print(&sum); err != nil {
		t.Fatal(err)
	}
	return out.String(), sum.String(), traces.Stats
}

// kept is the last digits of the traces that a report keeps.
func kept(lines string) (ids string) {
	for _, l := range strings.Split(lines, "\n") {
		if strings.Contains(l, `"decision":"keep"`) {
			ids += l[len(`{"trace_id":"`)+31:][:1]
		}
	}
	return ids
}

func TestReport(t *testing.T) {
	p := policies(t, "", `{name: "a \"<b>", type: latency, latency: {threshold_ms: 1}}, {name: no, type: drop, drop: {drop_sub_policy: [{type: span_count, span_count: {min_spans: 3}}]}}`)
	lines, table, stats := report(t, p, false, ends(1, 1500*time.Microsecond)+line(2, 3)+ends(3, time.Millisecond)+ends(4, 2*time.Second+7), ends(3, 0)+logLine(2)+ends(1, 5)+ends(1, 5))
	want := `{"trace_id":"00000000000000000000000000000001","decision":"keep","policy":"a \"<b>","spans":2,"duration_ms":1.5}
{"trace_id":"00000000000000000000000000000002","decision":"drop","policy":"no","spans":3,"duration_ms":1}
{"trace_id":"00000000000000000000000000000003","decision":"drop","policy":"","spans":2,"duration_ms":1}
{"trace_id":"00000000000000000000000000000004","decision":"keep","policy":"a \"<b>","spans":1,"duration_ms":2000.000007}
`
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	want = `                       traces   spans   bytes   of traces   of spans
   kept by a "<b>           2       3     150      50.0 %     37.5 %
   dropped by no            1       3     168      25.0 %     37.5 %
   kept by no policy        1       2     100      25.0 %     25.0 %
   kept                     2       3     150      50.0 %     37.5 %
   dropped                  2       5     268      50.0 %     62.5 %
   total                    4       8     418     100.0 %    100.0 %
`
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Stats{Requests: 7, Repeated: 1, Spans: 8, Logs: 2}, stats); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func TestReportOfNothing(t *testing.T) {
	lines, table, _ := report(t, sampler.Default(), false, "")
	if lines != "" || !strings.Contains(table, "total                    0       0       0           -          -") {
		t.Errorf("lines %q, table\n%s", lines, table)
	}
}

func TestReportExplains(t *testing.T) {
	lines, _, _ := report(t, policies(t, "", `{name: slow, type: latency, latency: {threshold_ms: 1}}`), true, ends(1, time.Second))
	want := `"duration_ms":1000,"explain":[{"policy":"slow","says":"keep","why":"lasted 1s, want more than 1ms"}]}` + "\n"
	if !strings.HasSuffix(lines, want) {
		t.Errorf("got %s want the end %s", lines, want)
	}
}

// Limiters see seconds of event time, whatever the order of the files, and the greatest randomness first; strict ones all of the
// input at once, in its order.
func TestLimitersDecideByTicks(t *testing.T) {
	const limiter = `{name: l, type: rate_limiting, rate_limiting: {spans_per_second: 2, burst_capacity: 2}}`
	second := func(n int, traces ...byte) (out string) {
		for _, id := range traces {
			out += ends(id, time.Duration(n)*time.Second+5*time.Millisecond)
		}
		return out
	}
	files := []string{second(2, 1, 2, 3, 4), second(1, 5, 6, 7) + second(3, 8)}
	lines, _, _ := report(t, policies(t, "", limiter), false, files...)
	if got := kept(lines); got != "34678" {
		t.Errorf("kept %s, want 34678: two of each second, and the one of the third", got)
	}
	lines, _, _ = report(t, policies(t, sampler.Strict, limiter), false, files...)
	if got := kept(lines); got != "12" {
		t.Errorf("strict policies keep %s, want 12: the first two", got)
	}
}

// The same request again is a retry, and is folded once; for the collector it is more spans.
func TestRepeats(t *testing.T) {
	const list = `{name: many, type: span_count, span_count: {min_spans: 4}}`
	for compat, want := range map[sampler.Compat]string{"": "", sampler.Strict: "1"} {
		lines, _, stats := report(t, policies(t, compat, list), false, line(1, 2)+line(1, 2), line(1, 2))
		if got := kept(lines); got != want || compat == "" && stats.Repeated != 2 {
			t.Errorf("compat %q: kept %q, want %q; stats %+v", compat, got, want, stats)
		}
	}
}

func TestLeftOut(t *testing.T) {
	nobody := strings.Replace(ends(0, 1), strings.Repeat("0", 32), "", 1)
	broken := `{name: o, type: ottl_condition, ottl_condition: {error_mode: ignore, span: ['ParseJSON(span.name) != nil']}}`
	_, _, stats := report(t, policies(t, "", broken), false, nobody+line(1, 2))
	if stats.Anonymous != 1 || stats.Spans != 2 || stats.Failed != 2 || stats.Failure == nil {
		t.Errorf("stats %+v: want 1 span without a trace, 2 with one, 2 failures", stats)
	}
}

// What is kept of a trace while files are read is its facts.
func TestMemoryOfATrace(t *testing.T) {
	const n, most = 200_000, 200 // bytes a trace; see the package's comment
	before := heap()
	traces := New(sampler.Default())
	var facts sampler.Facts
	for i := range n {
		traces.of(otlp.TraceID{1, byte(i), byte(i >> 8), byte(i >> 16)}).Merge(&facts)
	}
	per := (heap() - before) / n
	t.Logf("%d B a trace", per)
	if traces.Len() != n || per > most {
		t.Errorf("%d traces of %d B, want at most %d B", traces.Len(), per, most)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkRead(b *testing.B) {
	all := policies(b, sampler.Strict, `{name: e, type: status_code, status_code: {status_codes: [ERROR]}}`) // which know no repeats
	for name, file := range map[string][]byte{
		"json":  []byte(strings.Repeat(line(1, 20)+"\n", 100)),
		"proto": frames(bytes.Split(bytes.Repeat(append(proto(b, otlp.Traces, line(1, 20)), "SPLIT"...), 100), []byte("SPLIT"))...),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				if err := New(all).Read("f", bytes.NewReader(file)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
