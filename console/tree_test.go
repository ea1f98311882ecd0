package console

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/otlp"
)

func id(n uint64) (s otlp.SpanID) {
	binary.BigEndian.PutUint64(s[:], n)
	return s
}

func TestArrange(t *testing.T) {
	type at struct {
		Span, Parent, Depth int
		Note                string
	}
	for _, tt := range []struct {
		name  string
		spans []treeSpan
		want  []at
	}{
		{"nothing", nil, nil},
		{"children by start", []treeSpan{{id(3), id(1), 30}, {id(1), id(0), 0}, {id(2), id(1), 10}, {id(4), id(3), 40}},
			[]at{{1, -1, 0, ""}, {2, 1, 1, ""}, {0, 1, 1, ""}, {3, 0, 2, ""}}},
		{"several roots", []treeSpan{{id(2), id(0), 20}, {id(1), id(0), 10}},
			[]at{{1, -1, 0, ""}, {0, -1, 0, ""}}},
		{"missing parent", []treeSpan{{id(1), id(0), 10}, {id(2), id(9), 20}, {id(3), id(2), 30}},
			[]at{{0, -1, 0, ""}, {1, -1, 0, noteOrphan}, {2, 1, 1, ""}}},
		{"own parent", []treeSpan{{id(1), id(1), 10}}, []at{{0, -1, 0, noteCycle}}},
		{"cycle with a span under it that starts earlier", []treeSpan{{id(1), id(2), 20}, {id(2), id(1), 30}, {id(3), id(1), 10}},
			[]at{{0, -1, 0, noteCycle}, {2, 0, 1, ""}, {1, 0, 1, ""}}},
		{"same id twice", []treeSpan{{id(1), id(0), 10}, {id(1), id(0), 20}, {id(2), id(1), 30}},
			[]at{{0, -1, 0, ""}, {2, 0, 1, ""}, {1, -1, 0, noteDuplicate}}},
		{"no ids", []treeSpan{{id(0), id(0), 20}, {id(0), id(0), 10}}, []at{{1, -1, 0, ""}, {0, -1, 0, ""}}},
		{"child before its parent", []treeSpan{{id(1), id(0), 50}, {id(2), id(1), 10}},
			[]at{{0, -1, 0, ""}, {1, 0, 1, ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []at
			for _, p := range arrange(tt.spans) {
				got = append(got, at{p.span, p.parent, p.depth, p.note})
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Any graph of parents gives every span once, and no child before the parent it is drawn under.
func TestArrangeAnyGraph(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		spans := make([]treeSpan, random.IntN(12))
		for i := range spans {
			spans[i] = treeSpan{id(random.Uint64N(10)), id(random.Uint64N(12)), random.Uint64N(5)}
		}
		place := map[int]int{}
		for at, p := range arrange(spans) {
			if _, again := place[p.span]; again {
				t.Fatalf("%v: span %d twice", spans, p.span)
			}
			place[p.span] = at
			if above, ok := place[p.parent]; p.parent >= 0 && (!ok || above >= at) {
				t.Fatalf("%v: span %d before its parent", spans, p.span)
			}
		}
		if len(place) != len(spans) {
			t.Fatalf("%v: %d spans put out", spans, len(place))
		}
	}
}

// A chain as long as a broken instrumentation makes it must cost neither stack nor quadratic time.
func TestArrangeChain(t *testing.T) {
	spans := make([]treeSpan, 200_000)
	for i := range spans {
		spans[i] = treeSpan{id(uint64(i + 1)), id(uint64(i)), uint64(i)}
	}
	placed := arrange(spans)
	if last := placed[len(placed)-1]; last.depth != len(spans)-1 {
		t.Errorf("deepest span at depth %d, want %d", last.depth, len(spans)-1)
	}
}

func TestRates(t *testing.T) {
	var r rates
	start := time.Unix(1000, 0)
	if got := r.now(); got != (ratePoint{}) {
		t.Errorf("before any sample: %v", got)
	}
	for second := range 100 {
		now := start.Add(time.Duration(second) * time.Second)
		r.add(now, int64(second*50), int64(second*5))
		r.add(now.Add(100*time.Millisecond), 1<<40, 1<<40) // too soon, must not count
	}
	if got := r.now(); got.received != 50 || got.kept != 5 {
		t.Errorf("now: %v, want 50 and 5 per second", got)
	}
	if n := len(r.history()); n != 60 {
		t.Errorf("history has %d points, want the last 60", n)
	}
	r.add(start.Add(100*time.Second), 0, 0)
	if got := r.history()[59]; got.received != 0 {
		t.Errorf("a counter that went back: %v, want 0", got)
	}
}

func TestFormat(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{number(0), "0"}, {number(999), "999"}, {number(1000), "1,000"}, {number(-1234567), "-1,234,567"},
		{size(0), "0 B"}, {size(999), "999 B"}, {size(1024), "1.0 KiB"}, {size(64 << 20), "64.0 MiB"}, {size(500 << 20), "500 MiB"},
		{duration(0), "0 s"}, {duration(1500 * time.Nanosecond), "1.50 µs"}, {duration(250 * time.Millisecond), "250 ms"},
		{duration(1234 * time.Millisecond), "1.23 s"}, {duration(125 * time.Second), "2 min 05 s"}, {duration(-time.Second), "-1.00 s"},
		{duration(50 * time.Hour), "2 d 2 h"},
		{rate(0), "0"}, {rate(0.25), "0.2"}, {rate(12345.6), "12,346"},
		{percent(-1), "0%"}, {percent(0.5), "50.00%"}, {percent(7), "100.00%"},
		{sharePercent(1, 1000), "0.1 %"}, {sharePercent(0, 0), "0 %"},
		{text("grün\xff", 100), "grün\uFFFD"}, {text("grün", 3), "gr…"},
		{severityName(10, ""), "INFO2"}, {severityName(99, ""), "LOG"}, {severityName(9, "notice"), "notice"},
		{ago(time.Unix(100, 0), time.Unix(0, 0)), "no time"}, {ago(time.Unix(100, 0), time.Unix(58, 0)), "42 s ago"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
