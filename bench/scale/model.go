// Package scale simulates a fleet of workers under an autoscaler, to choose what the autoscaler should look at. It is pure: the same Case
// gives the same Run, in a second for a whole day.
//
// The model is a fluid one, in spans and seconds. Three cumulative counters say all about the data: Arrived, Taken (held by a worker) and
// Done (confirmed by the backend and acked), and between the last two Decided, since a span is decided when its publish time is Hold ago,
// not when it was taken: decisions go by event time. Pub/Sub's order is taken for first in, first out, which is what the hold makes of it by
// handing back the newest. A single trace, a single message and the network are not in it.
package scale

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Workload is what a span costs a worker, and how long it stays there.
type Workload struct {
	CPU       float64 // CPU-seconds per span
	Bytes     float64 // of the hold, per span
	PerBatch  float64 // spans in one message
	Hold      int     // seconds from publish to decision and ack
	GoneRange int     // seconds for which a hold must have room beyond Hold, since the lead changes hands
}

// Defaults are the README's figures: 6.6 CPU-seconds per million spans and half as much again for TLS and the
// exporter, neither of which is in that figure; 674 B a span; 40 spans a payload; window.idle 15 s and about 4 s.
var Defaults = Workload{CPU: 10e-6, Bytes: 674, PerBatch: 40, Hold: 19, GoneRange: 20}

// Instance is one worker.
type Instance struct {
	Cores   float64
	MaxHold float64 // hold.max_bytes
	Start   int     // seconds from being asked for to holding messages
}

// Spans a second that an instance can do with all of its CPU.
func (w Workload) capacity(i Instance) float64 { return i.Cores / w.CPU }

// room is how many spans a hold takes until it hands back the newest.
func (w Workload) room(i Instance) float64 { return 0.8 * i.MaxHold / w.Bytes }

// MostCPU leaves room for what arrives until an autoscaler has seen it, and for the work of a worker that is killed.
const MostCPU = 0.6

// CPUTarget is the share of its CPU that an instance may use: at most 60 %, and no more than what fills its hold to 80 % while the lead
// changes hands. With a small hold memory is what a fleet runs out of first, long before its CPU shows it.
func (w Workload) CPUTarget(i Instance) float64 {
	return min(MostCPU, w.room(i)/float64(w.Hold+w.GoneRange)/w.capacity(i))
}

// HoldFor is the hold.max_bytes with which CPU at the given target is used before memory.
func (w Workload) HoldFor(i Instance, target float64) float64 {
	return target * w.capacity(i) * float64(w.Hold+w.GoneRange) * w.Bytes / 0.8
}

// Rate is how many messages a second an instance is good for: those that use the share of its CPU.
func (w Workload) Rate(i Instance) float64 { return w.CPUTarget(i) * w.capacity(i) / w.PerBatch }

// HeldMessages is how many undelivered messages an instance is good for: what it holds at that rate, with nothing amiss.
func (w Workload) HeldMessages(i Instance) float64 { return w.Rate(i) * float64(w.Hold) }

// Load is what happens from outside.
type Load struct {
	Name    string
	Seconds int
	Rate    func(second int) float64 // spans/s
	Backend func(second int) float64 // spans/s that it confirms; +Inf: all
}

// Seen is what a signal may look at, at one moment, as late as its source has it.
type Seen struct {
	Workers     int
	CPU         float64 // of all workers, averaged over a minute
	Published   float64 // messages/s, averaged over a minute
	Undelivered float64 // messages
	Oldest      float64 // seconds
}

// Signal is a rule of an autoscaler: how many workers it asks for.
type Signal struct {
	Name string
	// Lag: by Cloud Monitoring, two to four minutes late. Without it by the platform itself, 30 s late.
	Lag  bool
	Want func(now, late Seen) float64
}

// Rules are the autoscaler's own, the same for each signal.
type Rules struct {
	Every     int     // seconds between two looks
	Min, Max  int     // instances
	Stabilise int     // seconds: when scaling in, the greatest wish of this time counts
	InShare   float64 // of the workers that may leave in a minute, one at least
	Tolerance float64 // a wish that is nearer than this to what there is changes nothing
}

// Autoscaler has the rules that docs/scaling.md recommends.
var Autoscaler = Rules{Every: 30, Min: 2, Max: 40, Stabilise: 600, InShare: 0.1, Tolerance: 0.1}

// Case is all that a run depends on.
type Case struct {
	Workload
	Instance
	Rules
	Load   Load
	Signal Signal
	Seed   uint64
}

// Point is one second of a run.
type Point struct {
	Workers int     // holding
	Needed  float64 // for the rate of this second, with MostCPU
	Latency float64 // seconds from publish to decision
	Held    float64 // share of the room in the holds
}

// Run is what came of a case.
type Run struct {
	Points      []Point
	Arrived     float64
	WorkerHours float64
	NeedHours   float64 // the least that could have done: Needed, rounded up, at least Rules.Min
	Short       int     // seconds with less CPU than arrived
	Full        int     // seconds in which a hold was full and messages were handed back
	HandedBack  float64 // spans given back: a hold was full
	HandedOver  float64 // spans given back: their worker ended
	Out, In     int     // workers started, ended
	P50, P99    float64 // decision latency, over all spans
	Worst       float64
	Drained     int // second from which on nothing older than Hold and a minute was left; -1: never
}

// handBack is for how many seconds Pub/Sub keeps what was handed back for the first time. That doubles every 8 deliveries.
const handBack, doubles, longest = 30, 8, 600

// Simulate runs a case.
func Simulate(c Case) Run {
	s := &state{Case: c, rng: rand.New(rand.NewPCG(c.Seed, 7)), workers: c.start()}
	r := Run{Points: make([]Point, 0, c.Load.Seconds), Drained: -1}
	var latencies []weighed
	for t := range c.Load.Seconds {
		s.second(t, &r)
		need := s.rate / c.capacity(c.Instance) / MostCPU
		p := Point{Workers: s.workers, Needed: need, Latency: s.latency(t), Held: s.held() / (float64(s.workers) * c.room(c.Instance))}
		r.Points = append(r.Points, p)
		r.WorkerHours += float64(s.workers+len(s.starting)) / 3600
		r.NeedHours += max(float64(c.Min), math.Ceil(need-1e-9)) / 3600
		if s.rate > float64(s.workers)*c.capacity(c.Instance) {
			r.Short++
		}
		latencies = append(latencies, weighed{p.Latency, s.justDecided})
		r.Worst = max(r.Worst, p.Latency)
		if s.oldest(t) <= float64(c.Hold+60) {
			if r.Drained < 0 {
				r.Drained = t
			}
		} else {
			r.Drained = -1
		}
	}
	r.Arrived = s.arrived
	r.P50, r.P99 = quantile(latencies, 0.5), quantile(latencies, 0.99)
	return r
}

// start is how many workers there are at the beginning: as many as the first rate needs.
func (c Case) start() int {
	need := c.Load.Rate(0) / c.capacity(c.Instance) / MostCPU
	return min(c.Max, max(c.Min, int(math.Ceil(need-1e-9))))
}

type state struct {
	Case
	rng      *rand.Rand
	workers  int
	starting []int // seconds at which workers begin to hold

	arrived, taken, decided, done float64
	curve                         []float64 // arrived at the end of each second
	rate, justDecided             float64
	noLeader                      int       // until this second nothing is decided
	busy                          []float64 // CPU of each second, as a share of all
	minute                        float64   // the sum of its latest 60
	seen                          []Seen    // of each second
	wishes                        []wish
	leftAt                        int // second in which workers last ended
}

type wish struct {
	at int
	n  int
}

func (s *state) held() float64 { return s.taken - s.done }

func (s *state) second(t int, r *Run) {
	s.starting = slices.DeleteFunc(s.starting, func(at int) bool {
		if at <= t {
			s.workers++
		}
		return at <= t
	})
	// Traffic is never smooth: 5 % either way, and the same for each signal.
	s.rate = s.Load.Rate(t) * (1 + 0.05*(2*s.rng.Float64()-1))
	s.arrived += s.rate
	s.curve = append(s.curve, s.arrived)

	n := float64(s.workers)
	able := n * s.capacity(s.Instance)
	waiting := s.arrived - s.taken
	free := max(0, n*s.room(s.Instance)-s.held())
	take := min(waiting, able, free)
	s.taken += take
	used := take
	if take == free && take < waiting {
		// What a full hold is given anew it hands back: it was received, inflated and scanned for nothing.
		back := min(s.returning(t), able-used)
		r.HandedBack += back
		r.Full++
		used += back
	}
	s.busy = append(s.busy, used/able)
	s.minute += used / able
	if t >= 60 {
		s.minute -= s.busy[t-60]
	}

	before := s.decided
	if t >= s.noLeader && t >= s.Hold {
		s.decided = max(s.decided, min(s.taken, s.curve[t-s.Hold]))
	}
	s.justDecided = s.decided - before
	s.done += min(s.decided-s.done, s.Load.Backend(t))

	s.seen = append(s.seen, Seen{
		Workers: s.workers, CPU: s.minute / float64(min(60, t+1)), Oldest: s.oldest(t),
		Undelivered: (s.arrived - s.done) / s.PerBatch, Published: (s.arrived - s.at(t-60)) / float64(min(60, t+1)) / s.PerBatch,
	})
	if t%s.Every == 0 {
		s.scale(t, r)
	}
}

// returning is how many of the waiting spans come back in this second: the older, the more often they came, the less of them.
func (s *state) returning(t int) float64 {
	sum, from := 0.0, 0
	for period := handBack; from <= t; period *= 2 {
		to := from + doubles*period
		if period >= longest {
			period, to = longest, t+1
		}
		sum += max(0, s.at(t-from)-max(s.taken, s.at(t-to))) / float64(period)
		from = to
	}
	return sum
}

// at is how much had arrived at the end of a second.
func (s *state) at(second int) float64 {
	if second < 0 {
		return 0
	}
	return s.curve[second]
}

// oldest is the age of the oldest un-acked message.
func (s *state) oldest(t int) float64 { return s.age(t, s.done) }

// latency is from publish to decision, of what is decided now or next.
func (s *state) latency(t int) float64 { return s.age(t, s.decided) }

// age of the span that was the nth to arrive.
func (s *state) age(t int, nth float64) float64 {
	i, _ := slices.BinarySearch(s.curve, nth+1e-6)
	return float64(max(0, t-i))
}

func (s *state) scale(t int, r *Run) {
	lag := 30
	if s.Signal.Lag {
		lag = 120 + s.rng.IntN(121)
	}
	want := s.Signal.Want(s.seen[max(0, t-30)], s.seen[max(0, t-lag)])
	have := s.workers + len(s.starting)
	if math.Abs(want/float64(have)-1) <= s.Tolerance {
		want = float64(have)
	}
	n := min(s.Max, max(s.Min, int(math.Ceil(want-1e-9))))
	s.wishes = append(slices.DeleteFunc(s.wishes, func(w wish) bool { return w.at < t-s.Stabilise }), wish{t, n})
	switch {
	case n > have:
		for range n - have {
			s.starting = append(s.starting, t+s.Start)
		}
		r.Out += n - have
	case n < have && t-s.leftAt >= 60 && t >= s.Stabilise:
		for _, w := range s.wishes {
			n = max(n, w.n)
		}
		leave := min(have-n, max(1, int(s.InShare*float64(have))))
		if leave = min(leave, s.workers-1); leave > 0 {
			s.end(t, leave, r)
		}
	}
}

// end lets workers go. What they hold undecided is with the others at once; what they had decided they export within their grace, if the
// backend takes it.
func (s *state) end(t, leave int, r *Run) {
	share := float64(leave) / float64(s.workers)
	if s.rng.Float64() < share {
		s.noLeader = t + 6 // it resigned, and another claimed
	}
	kept := s.decided
	if s.Load.Backend(t) < s.rate {
		kept = s.done // it does not
	}
	back := share * (s.taken - kept)
	r.HandedOver += back
	s.taken -= back
	s.decided = min(s.decided, s.taken)
	s.workers -= leave
	s.leftAt = t
	r.In += leave
}

type weighed struct{ value, weight float64 }

func quantile(all []weighed, q float64) float64 {
	slices.SortFunc(all, func(a, b weighed) int {
		switch {
		case a.value < b.value:
			return -1
		case a.value > b.value:
			return 1
		}
		return 0
	})
	total := 0.0
	for _, w := range all {
		total += w.weight
	}
	sum := 0.0
	for _, w := range all {
		if sum += w.weight; sum >= q*total {
			return w.value
		}
	}
	return 0
}
