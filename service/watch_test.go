package service

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tailweir/fleet/order"
)

// said is a message of a log and its publish time, ms after the begin.
type said struct {
	at int64
	m  order.Message
}

// entry is entry seq of the term that the claim at 13 s began.
func entry(seq uint64, body order.Body) order.Entry {
	e := order.Entry{ID: order.ID{1}, Worker: 0xa1, ClaimPublish: epoch + 13_000, Seq: seq, Body: body}
	e.Body.Open = seq == 1
	return e
}

// epoch is the publish time at which the tests' logs begin.
const epoch = 1_800_000_000_000

func TestLogWatch(t *testing.T) {
	cfg := Default()
	led := []said{
		{13_000, order.Claim{ID: order.ID{1}, Worker: 0xa1}},
		{15_400, entry(1, order.Body{Members: []order.Member{{Worker: 0xa1}, {Worker: 0xb2}}})},
		{15_900, entry(2, order.Body{Policy: &order.PolicyChange{Epoch: 7, Hash: 0xf0}, Decide: []order.Decision{{Keep: true, Policy: 1}, {Trace: [16]byte{1}}, {Trace: [16]byte{2}}}})},
		{16_000, order.Probe{Worker: 0xb2}},
		{23_000, order.Claim{ID: order.ID{2}, Worker: 0xb2}}, // void: the leader lives
	}
	known := LogReport{
		Begin: time.UnixMilli(epoch), Newest: time.UnixMilli(epoch + 23_000), AgeMS: 2000, Known: true, Leader: "00000000000000a1",
		Since: time.UnixMilli(epoch + 13_000), Term: "01000000000000000000000000000000", Seq: 2,
		Members: []string{"00000000000000a1", "00000000000000b2"}, Epoch: 7, Policy: "00000000000000f0",
		Claims: 2, Probes: 1, Terms: 1, PeriodMS: 10_000, Entries: 0.2, Kept: 0.1, Dropped: 0.2,
	}
	for name, tt := range map[string]struct {
		log    []said
		change func(*LogReport)
	}{
		"led":      {led, func(*LogReport) {}},
		"resigned": {append(led[:3:3], said{16_100, entry(3, order.Body{Resign: true})}, said{23_000, order.Probe{}}), func(r *LogReport) { r.Seq, r.Resigned, r.Claims, r.Entries = 3, true, 1, 0.3 }},
		"a claim that wins, without its open": {append(led[:4:4], said{23_000, order.Probe{}}, said{28_000, order.Claim{ID: order.ID{2}, Worker: 0xb2}}), func(r *LogReport) {
			r.Newest, r.AgeMS, r.Known, r.Leader, r.Since = time.UnixMilli(epoch+28_000), -3000, false, "00000000000000b2", time.UnixMilli(epoch+28_000)
			r.Term, r.Seq, r.Probes, r.Terms, r.Members = "02000000000000000000000000000000", 0, 2, 2, []string{"00000000000000b2"}
			r.PeriodMS, r.Entries, r.Kept, r.Dropped = 15_000, 2.0/15, 1.0/15, 2.0/15
		}},
		"older than asked for": {append([]said{{-1000, order.Probe{}}}, led...), func(r *LogReport) {
			r.Begin, r.Probes = time.UnixMilli(epoch-1000), 2
			r.PeriodMS, r.Entries, r.Kept, r.Dropped = 24_000, 2.0/24, 1.0/24, 2.0/24
		}},
		"an anomaly": {append(led[:4:4], said{22_900, order.Claim{ID: order.ID{9}}}, said{23_000, order.Entry{ID: order.ID{5}, ClaimPublish: epoch + 14_000, Seq: 9}}), func(r *LogReport) {
			*r = LogReport{
				Begin: r.Begin, Newest: r.Newest, AgeMS: r.AgeMS, Members: []string{}, Anomalies: map[string]int64{"unknown_claim": 1}, Claims: 2, Probes: 1, Terms: 1,
				PeriodMS: r.PeriodMS, Entries: r.Entries, Kept: r.Kept, Dropped: r.Dropped,
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newLogWatch(cfg, time.UnixMilli(epoch))
			for _, s := range tt.log {
				w.take(order.Append(nil, s.m), time.UnixMilli(epoch+s.at))
			}
			want := known
			tt.change(&want)
			if diff := cmp.Diff(want, w.report(time.UnixMilli(epoch+25_000)), cmpopts.EquateEmpty(), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
		})
	}
}

// After an anomaly the watch finds its place in the log again.
func TestLogWatchGoesOn(t *testing.T) {
	w := newLogWatch(Default(), time.UnixMilli(epoch))
	third, fourth := entry(3, order.Body{}), entry(4, order.Body{Members: []order.Member{{Worker: 0xc3}}})
	fourth.Cert = order.Cert{Seq: 3, Publish: epoch + 26_500}
	for _, s := range []said{
		{13_000, order.Claim{ID: order.ID{1}, Worker: 0xa1}},
		{15_400, entry(1, order.Body{})},
		{23_000, order.Entry{ID: order.ID{5}, ClaimPublish: epoch + 14_000, Seq: 9}}, // of a claim that nobody read
		{26_500, third}, {29_000, fourth},
	} {
		w.take(order.Append(nil, s.m), time.UnixMilli(epoch+s.at))
	}
	r := w.report(time.UnixMilli(epoch + 29_000))
	if !r.Known || r.Leader != "00000000000000a1" || r.Seq != 4 || len(r.Members) != 1 || r.Anomalies["unknown_claim"] != 1 {
		t.Errorf("report %+v: want entry 4 of worker a1, one member, one anomaly", r)
	}
}

// The second report's rates are of the time since the first.
func TestLogWatchRates(t *testing.T) {
	w := newLogWatch(Default(), time.UnixMilli(epoch))
	w.take(order.Append(nil, order.Claim{ID: order.ID{1}, Worker: 0xa1}), time.UnixMilli(epoch+13_000))
	w.take(order.Append(nil, entry(1, order.Body{})), time.UnixMilli(epoch+15_400))
	w.report(time.UnixMilli(epoch + 16_000))
	w.take(order.Append(nil, entry(2, order.Body{Decide: make([]order.Decision, 6)})), time.UnixMilli(epoch+16_500))
	if r := w.report(time.UnixMilli(epoch + 18_000)); r.Entries != 0.5 || r.Dropped != 3 || r.Kept != 0 || r.PeriodMS != 2000 {
		t.Errorf("%+v: want 0.5 entries/s and 3 dropped/s over 2 s", r)
	}
}

// The first report waits for the log's end, or for silence, not for what will not come.
func TestLogWatchCatchesUp(t *testing.T) {
	began := time.Now()
	for name, tt := range map[string]struct {
		newest, came, now time.Duration // after began; newest < 0: nothing was read
		led               bool
		want              bool
	}{
		"empty":                      {newest: -1, now: silentLog, want: true},
		"nothing yet":                {newest: -1, now: silentLog - 1},
		"in the past":                {newest: -time.Minute, came: 5 * time.Second, now: 6 * time.Second, led: true},
		"in the past, and silent":    {newest: -time.Minute, came: time.Second, now: 4 * time.Second, want: true},
		"current":                    {newest: 1, came: time.Second, now: time.Second, led: true, want: true},
		"current, and nobody leads":  {newest: 1, came: time.Second, now: time.Second},
		"current, and nobody by now": {newest: time.Second, came: anchorWait, now: anchorWait, want: true},
		"written faster than read":   {newest: -time.Minute, came: longestRead, now: longestRead, led: true, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			begin := began.Add(-10 * time.Minute)
			w := newLogWatch(Default(), begin)
			if tt.led {
				claim := begin.Add(13 * time.Second)
				e := order.Entry{ID: order.ID{1}, ClaimPublish: claim.UnixMilli(), Seq: 1, Body: order.Body{Open: true}}
				w.take(order.Append(nil, order.Claim{ID: order.ID{1}}), claim)
				w.take(order.Append(nil, e), claim.Add(2400*time.Millisecond))
			}
			w.came = began.Add(tt.came)
			if tt.newest != -1 {
				w.newest = began.Add(tt.newest)
			}
			if got := w.caughtUp(began.Add(tt.now), began); got != tt.want {
				t.Errorf("caught up: %t", got)
			}
		})
	}
}
