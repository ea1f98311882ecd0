package member

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/buffer"
	"tailweir/fleet"
	"tailweir/fleet/facts"
	"tailweir/fleet/order"
	"tailweir/otlp"
	"tailweir/sampler"
)

// chair says in the log what a test wants a leader of another process to say.
type chair struct {
	*topics
	id    order.ID
	claim int64
	seq   uint64
}

const stranger = order.Worker(9)

// take claims and opens a term, with what the Open says.
func (c *chair) take(t *testing.T, open order.Body) {
	c.id[0]++
	c.seq = 0
	c.say(t, order.Claim{ID: c.id, Worker: stranger})
	c.claim = time.Now().UnixMilli()
	time.Sleep(2400 * time.Millisecond)
	open.Open = true
	c.entry(t, open)
}

func (c *chair) say(t *testing.T, m order.Message) {
	if err := c.put(&c.log, order.Append(nil, m)); err != nil {
		t.Fatal(err)
	}
}

func (c *chair) entry(t *testing.T, b order.Body) {
	c.seq++
	c.say(t, order.Entry{ID: c.id, Worker: stranger, ClaimPublish: c.claim, Seq: c.seq, Body: b})
}

// Who lacks the active policy does not claim, since its own would become the active one, until nobody has said the policy
// for so long that nobody knows it.
func TestWhoLacksThePolicyLetsOthersClaim(t *testing.T) {
	unknown := &order.PolicyChange{Epoch: 3, Hash: 77, Config: []byte("policies: [{name: new, type: of_a_later_version}]")}
	own := parsed("policies: [{name: all, type: always_sample}]")
	for _, tc := range []struct {
		name  string
		said  *order.PolicyChange
		least time.Duration // from the last entry to the claim
		most  time.Duration
		holds bool
	}{
		{"none was said", nil, policyWait, policyWait + 20*time.Second, false},
		{"one that cannot be compiled", unknown, policyWait, policyWait + 20*time.Second, false},
		{"one that is known", &order.PolicyChange{Epoch: 3, Hash: order.Hash(own.Hash())}, 12 * time.Second, 16 * time.Second, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, h := &topics{}, &holding{}
				c := &chair{topics: o}
				m, end := run(t, o.config(), h)
				defer end()
				time.Sleep(100 * time.Millisecond)
				c.take(t, order.Body{Policy: tc.said})
				for range 60 {
					time.Sleep(beat)
					c.entry(t, order.Body{Members: []order.Member{{Worker: m.name, Stream: 1}}})
				}
				last := time.Now()
				if s := m.State(); s.Leader != nameOf(stranger) || len(s.Members) != 1 {
					t.Fatalf("it follows %q, with the members %v", s.Leader, s.Members)
				}
				resumed, _ := h.counts()
				if (resumed > 0) != tc.holds {
					t.Errorf("it has begun to pull %d times", resumed)
				}
				for m.State().Claims == 0 && time.Since(last) < 10*time.Minute {
					time.Sleep(100 * time.Millisecond)
				}
				if took := time.Since(last); took < tc.least || took > tc.most {
					t.Errorf("it claims after %s, want %s to %s", took, tc.least, tc.most)
				}
				time.Sleep(20 * time.Second)
				s := m.State()
				epoch := uint64(1)
				if tc.said != nil {
					epoch = 3
					if !tc.holds {
						epoch = 4 // its own, instead of one that nobody knows
					}
				}
				if s.Phase != Leading || s.Policy != own.Hash() || s.Epoch != epoch {
					t.Errorf("it is %s with the policy %x, epoch %d, want %x, %d", s.Phase, s.Policy, s.Epoch, own.Hash(), epoch)
				}
			})
		})
	}
}

// A policy that cannot be compiled here, or means something else here, stops this worker and nothing else.
func TestAPolicyChange(t *testing.T) {
	other := parsed("policies: [{name: none, type: drop, drop: {drop_sub_policy: [{type: always_sample}]}}, {name: rest, type: always_sample}]")
	h := &holding{}
	m := still((&topics{}).config(), h)
	own := m.cfg.Policies
	m.reading.anchored, m.reading.listed, m.limiters = true, true, []byte("of the set before")
	for _, step := range []struct {
		name   string
		change order.PolicyChange
		names  []string
		may    bool
		used   int  // in all
		stream bool // another is wanted
	}{
		{"of another version", order.PolicyChange{Epoch: 1, Hash: 77, Config: []byte("policies: [{name: x, type: y}]")}, nil, false, 0, true},
		{"the same again", order.PolicyChange{Epoch: 1, Hash: 77, Config: []byte("policies: [{name: x, type: y}]")}, nil, false, 0, true},
		{"not what its hash says", order.PolicyChange{Epoch: 2, Hash: 78, Config: other.Source()}, nil, false, 0, true},
		{"that of others", order.PolicyChange{Epoch: 3, Hash: order.Hash(other.Hash()), Config: other.Source()}, []string{"none", "rest"}, true, 1, true},
		{"its own, without the text", order.PolicyChange{Epoch: 4, Hash: order.Hash(own.Hash())}, []string{"all"}, true, 2, true},
		{"its own again, as joiners need it", order.PolicyChange{Epoch: 4, Hash: order.Hash(own.Hash())}, []string{"all"}, true, 2, false},
		{"its own in a new epoch", order.PolicyChange{Epoch: 5, Hash: order.Hash(own.Hash())}, []string{"all"}, true, 3, true},
	} {
		m.sender.want = nil
		m.change(&step.change)
		if m.mayHold() != step.may || len(h.used) != step.used || (m.sender.want != nil) != step.stream || m.policy.epoch != step.change.Epoch {
			t.Errorf("%s: may hold is %t, %d sets used, a stream is wanted %t, epoch %d", step.name, m.mayHold(), len(h.used), m.sender.want != nil, m.policy.epoch)
		}
		if diff := cmp.Diff(step.names, m.policy.names); diff != "" {
			t.Errorf("%s: names (-want +got):\n%s", step.name, diff)
		}
		if m.limiters != nil {
			t.Errorf("%s: the limiters of another set are kept", step.name)
		}
		if step.name == "its own, without the text" && string(m.policy.source) != string(own.Source()) {
			t.Errorf("it would say %q as the policy's text", m.policy.source)
		}
	}
}

func TestDecisionsInTheLog(t *testing.T) {
	names := []string{"errors", "slow"}
	for reason := buffer.Settled; reason <= buffer.Pressure; reason++ {
		for _, d := range []sampler.Decision{{}, {Policy: "slow"}, {Keep: true, Policy: "errors"}, {Keep: true, Policy: "slow", Threshold: 1 << 55}, {Keep: true, First: 7, Threshold: 1}} {
			in := []fleet.Decision{{Trace: otlp.TraceID{1, 2}, Reason: reason, Decision: d}}
			data := order.Append(nil, order.Entry{ID: order.ID{1}, Seq: 2, Body: order.Body{Decide: encode(in, names)}})
			msg, err := order.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(in, decode(msg.(order.Entry).Body.Decide, names)); diff != "" {
				t.Errorf("%s, %+v (-sent +read):\n%s", reason, d, diff)
			}
		}
	}
	dropped := encode([]fleet.Decision{{Decision: sampler.Decision{Threshold: 5, First: 5}}}, names)
	if dropped[0] != (order.Decision{}) {
		t.Error("a dropped trace takes the room of a kept one")
	}
	for number, want := range map[uint16]string{0: "", 1: "errors", 2: "slow", 3: unnamed, 1 << 15: unnamed} {
		if got := decode([]order.Decision{{Policy: number}}, names)[0].Policy; got != want {
			t.Errorf("policy %d is %q, want %q", number, got, want)
		}
	}
	if got := decode([]order.Decision{{Policy: 1}}, nil)[0].Policy; got != unnamed {
		t.Errorf("policy 1 is %q for who does not know the policies", got)
	}
	if got := encode([]fleet.Decision{{Decision: sampler.Decision{Policy: "of another set"}}}, names)[0].Policy; got != 0 {
		t.Errorf("a policy of another set has the number %d", got)
	}
	if encode(nil, names) != nil {
		t.Error("an entry without decisions says that there are some")
	}
}

// A leader's subscription is not one of a worker that is gone, nor is a member's.
func TestSweepSparesTheLiving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &topics{}
		var sweeps, faults atomic.Int64
		other := ""
		sweep := func(name string) func(context.Context, func(string) bool) error {
			return func(_ context.Context, alive func(string) bool) error {
				sweeps.Add(1)
				for who, want := range map[string]bool{name: true, other: true, nameOf(stranger): false, "": false} {
					if alive(who) != want {
						faults.Add(1)
					}
				}
				return errors.New("not allowed") // which stops nothing
			}
		}
		first := o.config()
		a := New(first) // for its name
		second := o.config()
		second.Rand.Uint64()
		other = New(second).Name()
		if other == a.Name() {
			t.Fatal("two workers of one name")
		}
		first, second = o.config(), o.config()
		second.Rand.Uint64()
		first.Sweep, second.Sweep = sweep(a.Name()), func(context.Context, func(string) bool) error {
			faults.Add(1)
			return nil
		}
		one, endOne := run(t, first, &holding{})
		defer endOne()
		time.Sleep(10 * time.Second)
		two, endTwo := run(t, second, &holding{})
		defer endTwo()
		time.Sleep(2*sweepEvery + 30*time.Second)
		if one.State().Phase != Leading || two.State().Phase != Holding {
			t.Fatalf("%s and %s", one.State().Phase, two.State().Phase)
		}
		if sweeps.Load() != 2 || faults.Load() > 0 {
			t.Errorf("%d sweeps, %d of the wrong", sweeps.Load(), faults.Load())
		}
	})
}

// A worker that is given messages has its own event time: what it has not received yet may be older than the fleet's.
func TestEventTimeIsTheFleetsOnlyInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &holding{}
		m := still((&topics{}).config(), h)
		s := &m.sender
		own := buffer.StampOf(time.Now())
		ahead := own.Add(time.Minute)
		s.add(fleet.Facts{Message: 1, Publish: own, First: true})
		s.learn(ahead)
		at := func(wait time.Duration, busy bool, want buffer.Stamp) {
			t.Helper()
			time.Sleep(wait)
			h.busy = busy
			if got := s.report(time.Now()).Newest; got != want {
				t.Errorf("%s after its last message it says %d, its own is %d and the fleet's %d", wait, got, own, ahead)
			}
		}
		at(0, false, own)
		at(quiet-time.Millisecond, false, own)
		at(time.Minute, true, own) // a message is being read
		at(0, false, ahead)
		s.add(fleet.Facts{Message: 2, Publish: own.Add(time.Second), First: true})
		if lag := s.report(time.Now()).Lag; lag < 59*time.Second {
			t.Errorf("it was 59 s ahead of a message that came, and wants a lag of %s", lag)
		}
	})
}

// What is as far behind as the worst so far, when a fresh message comes, is behind by its jump more: a leader's own tick in
// the midst of a backlog must not decide what is still to come.
func TestAFreshMessageAmongOldOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := still((&topics{}).config(), &holding{})
		begin := buffer.StampOf(time.Now()).Add(-3 * time.Minute)
		for i, at := range []time.Duration{20 * time.Second, time.Minute, 0, 2 * time.Minute} {
			m.sender.add(fleet.Facts{Message: uint64(i), Publish: begin.Add(at), First: true})
			time.Sleep(200 * time.Millisecond)
		}
		r := m.sender.report(time.Now())
		if mark := r.Newest.Add(-r.Lag); mark > begin {
			t.Errorf("the watermark is %s after the oldest of a backlog that comes in any order", mark.Sub(begin))
		}
	})
}

// A leader that has stepped down must leave facts alone: they may be for the next one.
func TestAFormerLeaderAcksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := still((&topics{}).config(), &holding{})
		now := time.Now().UnixMilli()
		l := leading(t, m, now-10_000)
		of := func(claim order.ID) []byte {
			b := facts.Batch{Fleet: m.fleet, Claim: claim, Epoch: 1, Worker: [16]byte{5}, Stream: 1}
			return b.Append(nil)
		}
		var b facts.Batch
		if got := m.gather(l, &b, of(order.ID{1}), time.Now()); got != Ack {
			t.Fatal("a leader does not take its own facts")
		}
		if got := m.gather(l, &b, of(order.ID{2}), time.Now()); got != Later {
			t.Error("a leader acks facts for a claim that it does not know")
		}
		m.endLead()
		for _, claim := range []order.ID{{1}, {2}} {
			if got := m.gather(l, &b, of(claim), time.Now()); got != Later {
				t.Errorf("after its step-down it acks facts for claim %x", claim[:1])
			}
		}
	})
}

// Facts of a trace whose decision is known bring the decision again, not another one: a holder may be new, and whoever has
// forgotten the first would follow the second.
func TestALeaderRepeatsWhatWasDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := otlp.TraceID{3}
		h := &holding{known: map[otlp.TraceID]sampler.Decision{id: {Keep: true, Policy: "all", Threshold: 7}}}
		m := still((&topics{}).config(), h)
		l := leading(t, m, time.Now().UnixMilli()-10_000)
		f := fleet.Facts{Message: 1, Publish: buffer.StampOf(time.Now()), Fragments: []fleet.Fragment{{Trace: id}}}
		b := facts.Batch{Fleet: m.fleet, Claim: l.term.ID, Epoch: 1, Worker: [16]byte{5}, Stream: 1, Messages: []fleet.Facts{f}}
		if m.gather(l, &b, b.Append(nil), time.Now()) != Ack || l.seq.Len() != 0 {
			t.Fatalf("%d traces are open", l.seq.Len())
		}
		l.begin = time.Now().Add(time.Hour) // nothing new is decided
		body, _ := m.body(time.Now())
		want := []order.Decision{{Trace: id, Keep: true, Policy: 1, Threshold: 7}}
		if diff := cmp.Diff(want, body.Decide); diff != "" {
			t.Errorf("it says (-want +got):\n%s", diff)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"defaults", func(*Config) {}, ""},
		{"fence at its bound", func(c *Config) { c.Fence = c.Order.Death - c.Order.Open }, "fence (10s) must be less than"},
		{"fence below", func(c *Config) { c.Fence = c.Order.Death - c.Order.Open - 1 }, ""},
		{"short fence", func(c *Config) { c.Fence = 3*time.Second - 1 }, "at least 3s"},
		{"short replay", func(c *Config) { c.Replay = 2*time.Minute - 1 }, "replay (1m59.999999999s) must be at least 2m0s"},
		{"order", func(c *Config) { c.Order.Gap = c.Order.Death }, "gap"},
	} {
		c := (&topics{}).config().defaults()
		tc.change(&c)
		got := strings.Join(c.Validate(), "\n")
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
