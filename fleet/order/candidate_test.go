package order

import (
	"fmt"
	"testing"
	"time"
)

// clock is a worker's own clock, n milliseconds after it began; publish times are other numbers.
func clock(n int64) time.Time { return clock0.Add(ms(n)) }

var clock0 = time.Unix(1000, 0)

// life plays a candidate's life. Each line is an instant of the clock and either a message read then, with its publish
// time, or what Next must say; "claimed" tells it of its own claim 9.
type life struct {
	at   int64
	m    Message
	p    int64
	want string
}

func says(at int64, want string) life         { return life{at: at, want: want} }
func reads(at int64, m Message, p int64) life { return life{at: at, m: m, p: p} }

func said(a Action) string {
	if a.Do == DoWait {
		return fmt.Sprintf("wait until %d", a.At.Sub(clock0).Milliseconds())
	}
	return map[Do]string{DoClaim: "claim", DoOpen: "open", DoGiveUp: "give up"}[a.Do]
}

func TestCandidate(t *testing.T) {
	lead := []life{reads(0, claim(1, 1), 0), reads(0, entry(1, 0, 1, 0, 0), 2400)} // term 1, read in one go
	for name, lines := range map[string][]life{
		"an empty log":               {says(0, "wait until 2500"), says(2499, "wait until 2500"), says(2500, "claim")},
		"probes do not fill the log": {reads(1000, Probe{}, 0), says(2500, "claim")},
		"unanchored, whatever is read": {
			reads(1000, entry(7, -50_000, 9, 0, 0), -40_000), says(1000, "wait until 14500"),
			reads(2000, claim(8, 8), -30_000), says(14_499, "wait until 15500"), says(15_500, "claim"),
		},
		"silence of a leader": append(lead, says(0, "wait until 13500"),
			reads(500, entry(1, 0, 2, 1, 2400), 2900), says(13_999, "wait until 14000"), says(14_000, "claim")),
		"void entries are silence": append(lead, reads(500, entry(1, 0, 2, 1, 2400), 9000), says(13_500, "claim")),
		"a resign":                 append(lead, reads(500, resign(entry(1, 0, 2, 1, 2400)), 2900), says(500, "wait until 3500"), says(3500, "claim")),
		"a new winner":             append(lead, reads(5000, claim(2, 2), 15_000), says(5000, "wait until 18500")),
		"a claim that wins": append(lead,
			says(13_500, "claim"), says(13_500, "claimed"), says(13_600, "wait until 20500"),
			reads(13_700, claim(9, 9), 15_900), says(13_700, "wait until 16100"), reads(15_000, claim(9, 9), 15_900), says(16_100, "open"), says(16_100, "wait until 20500"),
			reads(16_200, entry(9, 15_900, 1, 0, 0), 18_300), says(20_600, "wait until 29700")),
		"a claim from an empty log": {
			says(2500, "claim"), says(2500, "claimed"), reads(2600, claim(9, 9), 2500), says(2600, "wait until 5000"), says(5000, "open"),
		},
		"a claim that is opposed": {
			says(2500, "claimed"), reads(2600, claim(8, 8), 2499), reads(2700, claim(9, 9), 2500), says(2700, "give up"), says(2700, "wait until 16200"),
		},
		"a claim that comes too early is void": append(lead,
			says(13_500, "claimed"), reads(13_700, claim(9, 9), 14_399), says(13_700, "give up"), says(15_699, "wait until 15700"), says(15_700, "claim")),
		"a claim that is replaced": append(lead,
			says(13_500, "claimed"), reads(13_700, claim(9, 9), 15_900), reads(13_800, claim(2, 2), 15_800), says(13_800, "give up"), says(13_800, "wait until 27300")),
		"a claim that does not come back": append(lead,
			says(13_500, "claimed"), says(20_499, "wait until 20500"), says(20_500, "give up"), says(22_499, "wait until 22500"), says(22_500, "claim")),
		"an open that is not accepted": append(lead,
			says(13_500, "claimed"), reads(13_700, claim(9, 9), 15_900), says(16_100, "open"), says(20_500, "give up"), says(20_500, "wait until 27200")),
		"an anomaly": append(lead,
			says(13_500, "claimed"), reads(13_700, claim(9, 9), 15_900), reads(14_000, entry(8, 15_900, 1, 0, 0), 18_000), says(14_000, "wait until 27500")),
	} {
		t.Run(name, func(t *testing.T) {
			r := New(Config{}, -1_000_000)
			c := NewCandidate(r, clock(0), time.Second)
			for i, l := range lines {
				switch {
				case l.m != nil:
					m := chained(l.m)
					c.Observe(clock(l.at), m, r.Read(m, l.p, sumOf(m)))
				case l.want == "claimed":
					c.Claimed(clock(l.at), ID{9}, time.Second)
				default:
					if got := said(c.Next(clock(l.at))); got != l.want {
						t.Fatalf("line %d: at %d %q, want %q", i, l.at, got, l.want)
					}
				}
			}
		})
	}
}
