package main

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLatencyOverWorkers(t *testing.T) {
	page := `# TYPE a_seconds histogram
a_seconds_bucket{le="1"} 10
a_seconds_bucket{le="3"} 90
a_seconds_bucket{le="4"} 98
a_seconds_bucket{le="+Inf"} 1e+02
a_seconds_sum 250
a_seconds_count 100
other_seconds_bucket{le="1"} 7
`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(page)) }))
	defer server.Close()
	p := &part{name: "worker", console: strings.TrimPrefix(server.URL, "http://")}
	for name, want := range map[string]quantiles{
		"a_seconds":    {200, 2, 4}, // the last hundredth is beyond all bounds
		"none_seconds": {},
	} {
		got, err := latency(context.Background(), []*part{p, p}, name)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	if got := quantilesOf(map[float64]int{2: 0, 4: 100, math.Inf(1): 100}); got != (quantiles{100, 3, 3.98}) {
		t.Errorf("within one bucket: %+v", got)
	}
}
