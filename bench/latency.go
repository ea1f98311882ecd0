package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// quantiles of a histogram that workers show, in seconds, straight between the bounds of its buckets.
type quantiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_s"`
	P99   float64 `json:"p99_s"`
}

func (q quantiles) String() string {
	return fmt.Sprintf("p50 %.3g s, p99 %.3g s of %d", q.P50, q.P99, q.Count)
}

// latency adds up a histogram over the workers that show it: counts at or below each bound.
func latency(ctx context.Context, workers []*part, name string) (quantiles, error) {
	sum := map[float64]int{}
	for _, p := range workers {
		if err := p.addBuckets(ctx, name, sum); err != nil {
			return quantiles{}, fmt.Errorf("ask %s for %s: %w", p.name, name, err)
		}
	}
	return quantilesOf(sum), nil
}

// addBuckets reads lines such as name_bucket{le="0.5"} 12.
func (p *part) addBuckets(ctx context.Context, name string, sum map[float64]int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.console+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		rest, ours := strings.CutPrefix(lines.Text(), name+`_bucket{le="`)
		bound, count, cut := strings.Cut(rest, `"} `)
		if !ours || !cut {
			continue
		}
		le, err := strconv.ParseFloat(bound, 64)
		if err != nil {
			return err
		}
		n, err := strconv.ParseFloat(count, 64) // a great number has an exponent
		if err != nil {
			return err
		}
		sum[le] += int(n)
	}
	return lines.Err()
}

func quantilesOf(below map[float64]int) quantiles {
	bounds := slices.Sorted(maps.Keys(below)) // the last is +Inf
	if len(bounds) < 2 {
		return quantiles{}
	}
	count := below[bounds[len(bounds)-1]]
	at := func(q float64) float64 {
		rank, low, under := q*float64(count), 0.0, 0
		for _, bound := range bounds[:len(bounds)-1] {
			if in := below[bound] - under; in > 0 && rank <= float64(below[bound]) {
				return low + (bound-low)*(rank-float64(under))/float64(in)
			}
			low, under = bound, below[bound]
		}
		return low
	}
	return quantiles{count, at(0.5), at(0.99)}
}
