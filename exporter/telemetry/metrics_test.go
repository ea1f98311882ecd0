package telemetry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"google.golang.org/grpc/codes"

	"tailweir/exporter"
	"tailweir/exporter/exportertest"
	"tailweir/otlp"
)

// startMetrics makes an exporter to a backend that takes any OTLP.
func startMetrics(t *testing.T) (*Telemetry, *exportertest.Backend) {
	b := exportertest.NewGRPC(t, nil)
	return start(t, strings.TrimPrefix(b.URL, "grpc://"), nil), b
}

// gauge adds a metric of n points to a resource of the project, "" for none.
func gauge(md pmetric.Metrics, project, name string, n int) {
	rm := md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	if project != "" {
		rm.Resource().Attributes().PutStr("gcp.project_id", project)
	}
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(name)
	points := m.SetEmptyGauge().DataPoints()
	for i := range n {
		points.AppendEmpty().SetIntValue(int64(i))
	}
}

func metricParts(t *testing.T, parts ...func(pmetric.Metrics)) *exporter.Batch {
	t.Helper()
	b := &exporter.Batch{Signal: otlp.Metrics}
	for _, build := range parts {
		md := pmetric.NewMetrics()
		build(md)
		payload, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(md)
		if err != nil {
			t.Fatal(err)
		}
		b.Parts = append(b.Parts, exporter.Part{Items: md.DataPointCount(), Off: len(b.Payload), Len: len(payload)})
		b.Payload = append(b.Payload, payload...)
		b.Items += md.DataPointCount()
	}
	return b
}

// Whatever comes, no request has more than the API takes, each resource names its project, and every point arrives once, those of a
// series in their order.
func TestMetricsWithinTheLimits(t *testing.T) {
	x, b := startMetrics(t)
	batch := metricParts(t,
		func(md pmetric.Metrics) { gauge(md, "", "large", 450) },
		func(md pmetric.Metrics) {
			for i := range 250 {
				gauge(md, "", fmt.Sprintf("resource %03d", i), 1)
			}
			gauge(md, "", "no points", 0)
		},
		func(md pmetric.Metrics) { gauge(md, "other-project", "elsewhere", 7) },
	)
	if err := x.Export(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	got := map[string][]int64{}
	for _, r := range b.Requests() {
		md, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(r.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if n, resources := md.DataPointCount(), md.ResourceMetrics().Len(); n > 200 || resources > 200 || n == 0 {
			t.Errorf("a request of %d points of %d resources", n, resources)
		}
		for _, rm := range md.ResourceMetrics().All() {
			project, _ := rm.Resource().Attributes().Get("gcp.project_id")
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				for _, p := range m.Gauge().DataPoints().All() {
					key := project.Str() + "/" + m.Name()
					got[key] = append(got[key], p.IntValue())
				}
			}
		}
	}
	want := map[string][]int64{"other-project/elsewhere": upTo(7), "shop-project/large": upTo(450)}
	for i := range 250 {
		want[fmt.Sprintf("shop-project/resource %03d", i)] = upTo(1)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
	if n := len(b.Requests()); n != 5 { // 200, 200, 50 + 150, 100, and 7 of the other project
		t.Errorf("%d requests, want 5", n)
	}
}

func upTo(n int) (all []int64) {
	for i := range n {
		all = append(all, int64(i))
	}
	return all
}

// What is refused is named by its part, and the other parts are there.
func TestMetricsRefused(t *testing.T) {
	bad := exportertest.Answer{Code: codes.InvalidArgument, Message: "no such metric"}
	tests := []struct {
		name     string
		script   []exportertest.Answer
		parts    []int // refused
		rejected int
		requests int
	}{
		{"nothing", nil, nil, 0, 1},
		{"after a retry", []exportertest.Answer{{Code: codes.Unavailable}}, nil, 0, 2},
		{"one part", []exportertest.Answer{bad, bad}, []int{0}, 0, 3},
		{"the other", []exportertest.Answer{bad, {}, bad}, []int{1}, 0, 3},
		{"both", []exportertest.Answer{bad, bad, bad}, []int{0, 1}, 0, 3},
		{"some points", []exportertest.Answer{{Rejected: 2, PartialMessage: "too old"}}, nil, 2, 1},
		{"all points", []exportertest.Answer{{Rejected: 7, PartialMessage: "too old"}}, []int{0, 1}, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, b := startMetrics(t)
			b.Script(tt.script...)
			batch := metricParts(t, func(md pmetric.Metrics) { gauge(md, "", "a", 3) }, func(md pmetric.Metrics) { gauge(md, "", "b", 4) })
			err := x.Export(t.Context(), batch)
			var parts []int
			if pe, ok := errors.AsType[*exporter.PermanentError](err); ok {
				for _, r := range pe.Refused {
					parts = append(parts, r.Part)
				}
			}
			rejected := 0
			if pe, ok := errors.AsType[*exporter.PartialError](err); ok {
				rejected = pe.Rejected
			}
			if !slices.Equal(parts, tt.parts) || rejected != tt.rejected || (err == nil) != (parts == nil && rejected == 0) {
				t.Errorf("parts %v refused and %d points rejected, want %v and %d: %v", parts, rejected, tt.parts, tt.rejected, err)
			}
			if n := len(b.Requests()); n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
		})
	}
}
