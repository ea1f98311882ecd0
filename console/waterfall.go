package console

import (
	"cmp"
	"math"
	"slices"
	"time"

	"tailweir/otlp"
)

const (
	maxSpanRows = 2000 // what a browser lays out without a pause; the JSON has all spans
	maxLogRows  = 2000
	maxIndent   = 16 // the .d0 to .d16 of the style sheet
)

// waterfall is the drawn form of a trace.
type waterfall struct {
	Rows     []row
	Ticks    []string // labels of the time axis at 0, 25, 50 and 75 %
	Services []service
	Root     string // name of the first local root that is drawn at the top, or else of the first span there
	Service  string
	Start    time.Time
	Duration string
	Spans    int
	Logs     int
	Errors   int // spans with status ERROR
	Skewed   int // spans that start before their parent
	HidSpans int // beyond maxSpanRows
	HidLogs  int
}

type service struct {
	Name  string
	Color int
	Spans int
}

// row is a span, or a log record (Log) under the span it belongs to.
type row struct {
	Log      bool
	Depth    int
	Name     string
	Service  string
	Color    int
	Kind     string // "" for internal and unspecified
	Error    bool
	Severity string // of a log record
	Level    string // its class: debug, info, warn, error
	X, W     string // offset and width of the bar
	LabelX   string
	LabelEnd bool // the label ends at LabelX instead of starting there
	LabelIn  bool // the label is inside the bar, because that leaves no room
	Label    string
	Notes    []string
	Facts    []field // ids, status, times
	Fields   []field // attributes
	Resource []field
	Events   []event
	Links    []field
}

type field struct{ Key, Value string }

type event struct {
	At, Name string
	Fields   []field
}

// timeline maps unix ns to the width of the waterfall.
type timeline struct{ start, end uint64 }

func (t timeline) at(ns uint64) float64 {
	if t.end <= t.start || ns <= t.start {
		return 0
	}
	return min(1, float64(ns-t.start)/float64(t.end-t.start))
}

// since is the signed time from the start of the trace.
func (t timeline) since(ns uint64) string {
	if ns == 0 {
		return "no time"
	}
	if ns < t.start {
		return "-" + duration(time.Duration(min(t.start-ns, math.MaxInt64)))
	}
	return "+" + duration(time.Duration(min(ns-t.start, math.MaxInt64)))
}

// drawer holds what the rows are made from.
type drawer struct {
	spans, logs *otlp.Payload
	scale       timeline
	colors      map[string]int
	services    []service
	byService   map[string]int // index in services
	logsOf      map[otlp.SpanID][]int32
	resources   map[int32][]field
	logRows     int
	rooted      bool // out.Root is a local root's
	out         waterfall
}

// draw lays the trace out. Nothing that the spans say can make it fail or grow without bound: it
// has at most maxSpanRows + maxLogRows rows.
func draw(spans, logs *otlp.Payload) waterfall {
	d := &drawer{
		spans: spans, logs: logs,
		colors: map[string]int{}, byService: map[string]int{},
		logsOf: map[otlp.SpanID][]int32{}, resources: map[int32][]field{},
	}
	d.measure()
	d.gatherLogs()
	nodes := make([]treeSpan, spans.Len())
	for i := range nodes {
		s := spans.Span(int32(i))
		nodes[i] = treeSpan{s.SpanID(), s.ParentSpanID(), s.Start()}
	}
	placed := arrange(nodes)
	for n, p := range placed {
		if n == maxSpanRows {
			d.out.HidSpans = len(placed) - n
			break
		}
		d.addSpan(p, nodes)
	}
	d.addLogs(otlp.SpanID{}, 0)
	d.out.HidLogs = logs.Len() - d.logRows
	d.out.Spans, d.out.Logs, d.out.Services = spans.Len(), logs.Len(), d.services
	return d.out
}

// measure finds the time axis and counts services; spans without a start do not stretch it.
func (d *drawer) measure() {
	for i := range int32(d.spans.Len()) {
		s := d.spans.Span(i)
		d.count(serviceName(s.Resource()))
		if s.StatusCode() == statusError {
			d.out.Errors++
		}
		if start := s.Start(); start != 0 && (d.scale.start == 0 || start < d.scale.start) {
			d.scale.start = start
		}
		d.scale.end = max(d.scale.end, s.Start(), s.End())
	}
	if d.scale.start == 0 { // only log records: their times are the axis
		for i := range int32(d.logs.Len()) {
			t := recordTime(d.logs.Record(i))
			if t != 0 && (d.scale.start == 0 || t < d.scale.start) {
				d.scale.start = t
			}
			d.scale.end = max(d.scale.end, t)
		}
	}
	length := d.scale.end - min(d.scale.start, d.scale.end)
	d.out.Ticks = []string{"0"}
	for quarter := uint64(1); quarter < 4; quarter++ {
		d.out.Ticks = append(d.out.Ticks, duration(time.Duration(min(length/4*quarter, math.MaxInt64))))
	}
	d.out.Duration = duration(time.Duration(min(length, math.MaxInt64)))
	d.out.Start = time.Unix(0, int64(min(d.scale.start, math.MaxInt64))).UTC()
}

// count gives a service the colour it has everywhere, or the next free one when another service of
// this trace has that already.
func (d *drawer) count(name string) {
	if i, ok := d.byService[name]; ok {
		d.services[i].Spans++
		return
	}
	c := color(name)
	if len(d.services) < colors {
		for slices.ContainsFunc(d.services, func(s service) bool { return s.Color == c }) {
			c = (c + 1) % colors
		}
	}
	d.colors[name] = c
	d.byService[name] = len(d.services)
	d.services = append(d.services, service{text(name, 80), c, 1})
}

// gatherLogs sorts the records by span and time; those whose span is not here go under the zero id.
func (d *drawer) gatherLogs() {
	known := make(map[otlp.SpanID]bool, d.spans.Len())
	for i := range int32(d.spans.Len()) {
		known[d.spans.Span(i).SpanID()] = true
	}
	for i := range int32(d.logs.Len()) {
		id := d.logs.Record(i).SpanID()
		if !known[id] {
			id = otlp.SpanID{}
		}
		d.logsOf[id] = append(d.logsOf[id], i)
	}
	for _, list := range d.logsOf {
		slices.SortStableFunc(list, func(a, b int32) int {
			return cmp.Compare(recordTime(d.logs.Record(a)), recordTime(d.logs.Record(b)))
		})
	}
}

func (d *drawer) addSpan(p placed, nodes []treeSpan) {
	s := d.spans.Span(int32(p.span))
	r := d.spanRow(s, p)
	if p.parent >= 0 && nodes[p.span].start < nodes[p.parent].start {
		d.out.Skewed++
		r.Notes = append(r.Notes, "starts before its parent: the clocks of the two machines differ")
	}
	if p.depth == 0 && (d.out.Root == "" || s.LocalRoot() && !d.rooted) {
		d.out.Root, d.out.Service, d.rooted = r.Name, r.Service, s.LocalRoot()
	}
	d.out.Rows = append(d.out.Rows, r)
	d.addLogs(s.SpanID(), p.depth+1)
}

// addLogs puts the records of a span out once, also when two spans have its id.
func (d *drawer) addLogs(id otlp.SpanID, depth int) {
	for _, i := range d.logsOf[id] {
		if d.logRows == maxLogRows {
			return
		}
		d.logRows++
		d.out.Rows = append(d.out.Rows, d.logRow(d.logs.Record(i), depth))
	}
	delete(d.logsOf, id)
}
