package gcp

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestAges(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		ages Ages
		at   time.Duration
		want bool
	}{
		{SpanAges, 0, true},
		{SpanAges, -14*day + time.Minute, true},
		{SpanAges, -14*day + time.Minute - 1, false},
		{SpanAges, 3*day - time.Minute, true},
		{SpanAges, 3*day - time.Minute + 1, false},
		{EntryAges, -30*day + time.Minute, true},
		{EntryAges, -30*day + time.Minute - 1, false},
		{EntryAges, day - time.Minute, true},
		{EntryAges, day - time.Minute + 1, false},
	} {
		if got := test.ages.Take(uint64(now.Add(test.at).UnixNano()), now); got != test.want {
			t.Errorf("%s at %s is taken: %t, want %t", test.ages.What, test.at, got, test.want)
		}
	}
	for _, ns := range []uint64{0, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		if SpanAges.Take(ns, now) {
			t.Errorf("start %d is taken", ns)
		}
	}
	for ns, want := range map[uint64]string{0: "1970-01-01T00:00:00Z is more than 14 days in the past", math.MaxUint64: "more than 3 days in the future"} {
		if got := SpanAges.Fault(ns, now).Error(); !strings.Contains(got, want) {
			t.Errorf("fault of %d: %s", ns, got)
		}
	}
}
