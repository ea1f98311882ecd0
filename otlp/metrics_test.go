package otlp

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/protobuf/encoding/protowire"
)

// smallMetrics is smallTraces for metrics: one of each kind, with all fields, and one without data.
func smallMetrics() []byte {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "a")
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("meter")
	m := sm.Metrics().AppendEmpty()
	m.SetName("g")
	m.SetUnit("By")
	m.Metadata().PutStr("from", "here")
	gauge := m.SetEmptyGauge()
	for i := range 3 {
		gauge.DataPoints().AppendEmpty().SetIntValue(int64(i))
	}
	s := sm.Metrics().AppendEmpty()
	s.SetName("s")
	s.SetDescription("a sum")
	sum := s.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	p := sum.DataPoints().AppendEmpty()
	p.SetStartTimestamp(1)
	p.SetTimestamp(2)
	p.SetDoubleValue(1.5)
	p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	smallAttributes(p.Attributes())
	smallExemplar(p.Exemplars().AppendEmpty())
	sm = rm.ScopeMetrics().AppendEmpty()
	h := sm.Metrics().AppendEmpty().SetEmptyHistogram().DataPoints().AppendEmpty()
	h.SetCount(3)
	h.SetSum(2)
	h.SetMin(0)
	h.SetMax(1)
	h.BucketCounts().FromRaw([]uint64{1, 2})
	h.ExplicitBounds().FromRaw([]float64{0.5})
	smallAttributes(h.Attributes())
	smallExemplar(h.Exemplars().AppendEmpty())
	e := sm.Metrics().AppendEmpty().SetEmptyExponentialHistogram().DataPoints().AppendEmpty()
	e.SetScale(-3)
	e.SetZeroCount(1)
	e.SetZeroThreshold(0.1)
	e.Positive().SetOffset(-1)
	e.Positive().BucketCounts().FromRaw([]uint64{1, 300})
	e.Negative().BucketCounts().FromRaw([]uint64{7})
	smallAttributes(e.Attributes())
	smallExemplar(e.Exemplars().AppendEmpty())
	q := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptySummary().DataPoints().AppendEmpty()
	q.SetCount(9)
	v := q.QuantileValues().AppendEmpty()
	v.SetQuantile(0.5)
	v.SetValue(4)
	smallAttributes(q.Attributes())
	md.ResourceMetrics().At(1).ScopeMetrics().At(0).Metrics().AppendEmpty().SetName("empty")
	return metricsBytes(md)
}

func smallExemplar(e pmetric.Exemplar) {
	e.SetTimestamp(3)
	e.SetDoubleValue(2)
	e.SetTraceID(pcommon.TraceID{1})
	e.SetSpanID(pcommon.SpanID{2})
	e.FilteredAttributes().PutInt("k", 1)
}

func metricsBytes(md pmetric.Metrics) []byte {
	b, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		panic(err)
	}
	return b
}

func metricSeeds() [][]byte { return [][]byte{nil, smallMetrics(), keyFirst(Metrics, smallMetrics())} }

func FuzzScanMetrics(f *testing.F) {
	for _, b := range metricSeeds() {
		f.Add(b)
	}
	f.Fuzz(checkMetrics)
}

// checkMetrics holds Scan and what is made of metrics to pdata.
func checkMetrics(t *testing.T, b []byte) {
	md, want := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(b)
	var p Payload
	if !sameVerdict(t, p.Scan(Metrics, b), want) || usesDeprecated(b) {
		return
	}
	same := func(t *testing.T, p *Payload) {
		t.Helper()
		metrics, points := 0, 0
		for _, rm := range md.ResourceMetrics().All() {
			for _, sm := range rm.ScopeMetrics().All() {
				for _, m := range sm.Metrics().All() {
					equal(t, "points of a metric", p.PointsOf(int32(metrics)), pointsIn(m))
					metrics, points = metrics+1, points+pointsIn(m)
				}
			}
		}
		equal(t, "metrics", p.Len(), metrics)
		equal(t, "points", p.Points(), points)
	}
	same(t, &p)
	checkCopies(t, &p, same)
	for _, limit := range []int{1, 2} {
		cut := scanned(t, Metrics, CutPoints(&p, limit))
		equal(t, "points after the cut", cut.Points(), p.Points())
		for i := range int32(cut.Len()) {
			if n := cut.PointsOf(i); n > limit {
				t.Fatalf("a metric has %d points, at most %d were wanted", n, limit)
			}
		}
		again, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(cut.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(pointTexts(t, md), pointTexts(t, again)); diff != "" {
			t.Fatalf("cut to %d points (-whole +cut):\n%s", limit, diff)
		}
	}
}

func pointsIn(m pmetric.Metric) int {
	md := pmetric.NewMetrics()
	m.CopyTo(md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty())
	return md.DataPointCount()
}

// pointTexts are the points of md, in their order, each with all that is around it, and the metrics without points.
func pointTexts(t *testing.T, md pmetric.Metrics) (all []string) {
	t.Helper()
	say := func(rm pmetric.ResourceMetrics, sm pmetric.ScopeMetrics, m pmetric.Metric, only func(pmetric.Metric)) {
		one := pmetric.NewMetrics()
		r := one.ResourceMetrics().AppendEmpty()
		rm.Resource().CopyTo(r.Resource())
		r.SetSchemaUrl(rm.SchemaUrl())
		s := r.ScopeMetrics().AppendEmpty()
		sm.Scope().CopyTo(s.Scope())
		s.SetSchemaUrl(sm.SchemaUrl())
		to := s.Metrics().AppendEmpty()
		m.CopyTo(to)
		only(to)
		all = append(all, string(metricsBytes(one)))
	}
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				if pointsIn(m) == 0 {
					say(rm, sm, m, func(pmetric.Metric) {})
				}
				for want := range pointsIn(m) {
					say(rm, sm, m, func(to pmetric.Metric) { keepPoint(to, want) })
				}
			}
		}
	}
	return all
}

func keepPoint(m pmetric.Metric, want int) {
	i := -1
	next := func() bool { i++; return i != want }
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		m.Gauge().DataPoints().RemoveIf(func(pmetric.NumberDataPoint) bool { return next() })
	case pmetric.MetricTypeSum:
		m.Sum().DataPoints().RemoveIf(func(pmetric.NumberDataPoint) bool { return next() })
	case pmetric.MetricTypeHistogram:
		m.Histogram().DataPoints().RemoveIf(func(pmetric.HistogramDataPoint) bool { return next() })
	case pmetric.MetricTypeExponentialHistogram:
		m.ExponentialHistogram().DataPoints().RemoveIf(func(pmetric.ExponentialHistogramDataPoint) bool { return next() })
	case pmetric.MetricTypeSummary:
		m.Summary().DataPoints().RemoveIf(func(pmetric.SummaryDataPoint) bool { return next() })
	}
}

// TestMetricMutants is TestMutants for metrics.
func TestMetricMutants(t *testing.T) {
	for _, b := range metricSeeds() {
		checkMetrics(t, b)
	}
	each := environ(t, "OTLP_MUTANTS", 20_000)
	rnd, seeds, valid := newMutants(t), metricSeeds()[1:], 0
	var p Payload
	for range each {
		b := mutant(rnd, seeds)
		if p.Scan(Metrics, b) == nil {
			valid++
		}
		check(t, Metrics, b, checkMetrics)
	}
	if valid < each/10 || valid > each*9/10 {
		t.Errorf("%d of %d mutants are valid: one of the two verdicts is hardly tested", valid, each)
	}
}

// Packed numbers may come one by one, and not cut off.
func TestPackedNumbers(t *testing.T) {
	in := func(data protowire.Number, point []byte) []byte {
		return field(1, field(2, field(2, field(data, field(1, point)))))
	}
	tests := []struct {
		name  string
		data  protowire.Number
		point []byte
		valid bool
	}{
		{"packed", 9, field(6, make([]byte, 16)), true},
		{"one by one", 9, []byte{6<<3 | wireI64, 1, 2, 3, 4, 5, 6, 7, 8, 6<<3 | wireI64, 1, 2, 3, 4, 5, 6, 7, 8}, true},
		{"cut off", 9, field(6, make([]byte, 15)), false},
		{"varints for 8 bytes", 9, []byte{6<<3 | wireVarint, 1}, false},
		{"packed varints", 10, field(8, field(2, []byte{1, 0x80, 1})), true},
		{"one varint", 10, field(8, []byte{2<<3 | wireVarint, 1}), true},
		{"a varint cut off", 10, field(8, field(2, []byte{1, 0x80})), false},
		{"8 bytes for a varint", 10, field(8, []byte{2<<3 | wireI64, 1, 2, 3, 4, 5, 6, 7, 8}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := in(tt.data, tt.point)
			checkMetrics(t, b)
			if err := new(Payload).Scan(Metrics, b); (err == nil) != tt.valid {
				t.Errorf("error %v, want valid: %v", err, tt.valid)
			}
		})
	}
}

func TestSplitMetrics(t *testing.T) {
	var all []byte
	for range 20 {
		all = append(all, smallMetrics()...) // concatenated requests are one
	}
	p := scanned(t, Metrics, all)
	parts, tooLarge := Split(p, 2000)
	if len(tooLarge) != 0 || len(parts) < 5 {
		t.Fatalf("%d parts, %d too large", len(parts), len(tooLarge))
	}
	points := 0
	for _, part := range parts {
		if len(part) > 2000 {
			t.Errorf("a part has %d bytes", len(part))
		}
		points += scanned(t, Metrics, part).Points()
	}
	if points != p.Points() || points != 20*7 {
		t.Errorf("the parts have %d points, want %d, 140", points, p.Points())
	}
}
