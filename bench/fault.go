package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"tailweir/queue/broker"
	"tailweir/queue/queuetest"
)

// fault is something bad that happens, and is over when strike returns.
type fault struct {
	name   string
	weight int
	spares func(r *round) bool // rounds in which chance does not pick it
	strike func(ctx context.Context, r *round, rnd *rand.Rand) error
}

func anywhere(*round) bool { return false }

func withoutControl(r *round) bool { return r.opts.emulator }

// deadly spares workers on Google's emulator, which never forgets a stream whose client was killed (see emulatorReturn): there the
// kill of the openings is enough.
func deadly(r *round) bool { return r.opts.emulator }

func whenMany(r *round) bool { return len(r.workers()) > r.opts.workers+1 }

func whenFew(r *round) bool { return len(r.workers()) < max(2, r.opts.workers) }

// faults is all that happens. The broker is never killed: it stands for Pub/Sub, which keeps what it confirmed.
//
// The faults of Pub/Sub strike whatever comes: payloads, and the fleet's log and facts. A publish that takes 3 s is
// sent again by who writes the log, one that takes 5 s costs it the lead.
var faults = []fault{
	{"kill ingest", 3, anywhere, kills(the("ingest"))},
	{"kill worker", 4, deadly, kills((*round).workers)},
	{"kill sequencer", 2, deadly, kills((*round).sequencer)},
	{"kill sink", 3, anywhere, kills(the("sink"))},
	{"replace worker", 2, anywhere, replaceWorker},
	{"add worker", 1, whenMany, addWorker},
	{"remove worker", 1, whenFew, removeWorker},
	{"stop ingest", 1, anywhere, stops(the("ingest"), 8*time.Second)},
	{"stop worker", 2, anywhere, stops((*round).workers, 18*time.Second)}, // longer than the ack deadline, the fence and the death of a member
	{"stop sequencer", 2, withoutControl, stops((*round).sequencer, 18*time.Second)},
	{"stop sink", 1, anywhere, stops(the("sink"), 12*time.Second)},    // longer than the exporter's timeout
	{"stop broker", 1, anywhere, stops(the("broker"), 8*time.Second)}, // longer than the fence
	{"poison", 2, anywhere, poison},
	{"publish fails", 2, withoutControl, injects(broker.Fault{Method: "Publish", Count: 30, Code: codes.Unavailable})},
	{"publish is done and fails", 2, withoutControl, injects(broker.Fault{Method: "Publish", Count: 10, Code: codes.Internal, After: true})},
	{"publish is slow", 1, withoutControl, injects(broker.Fault{Method: "Publish", Count: 50, Delay: 3 * time.Second})},
	{"publish hangs", 1, withoutControl, injects(broker.Fault{Method: "Publish", Count: 50, Delay: 5 * time.Second})},
	{"ack fails", 2, withoutControl, injects(broker.Fault{Method: "Acknowledge", Count: 5, Code: codes.Unavailable})},
	{"ack is done and fails", 1, withoutControl, injects(broker.Fault{Method: "Acknowledge", Count: 5, Code: codes.Unavailable, After: true})},
	{"extension fails", 1, withoutControl, injects(broker.Fault{Method: "ModifyAckDeadline", Count: 10, Code: codes.Unavailable})},
	{"delivery fails", 1, withoutControl, injects(broker.Fault{Method: "Deliver", Count: 5, Code: codes.Unavailable})},
	{"delivery is slow", 1, withoutControl, injects(broker.Fault{Method: "Deliver", Count: 20, Delay: 500 * time.Millisecond})},
	{"delivered twice", 2, withoutControl, injects(broker.Fault{Method: "Deliver", Count: 10, Duplicate: true})},
	{"streams dropped", 2, withoutControl, dropStreams},
	{"streams dropped and refused", 1, withoutControl, refuseStreams},
}

// actor strikes with one fault after the other: those of its opening, then what chance picks of all that it has.
type actor struct {
	seed    uint64
	opening []string
	faults  []fault
}

// actors are all but Google's. Without a redelivery, a retry, a change of the sequencer and of the members a round proves nothing.
var actors = []actor{
	{0, []string{"kill sequencer"}, faults}, {1, []string{"kill ingest"}, faults}, {2, []string{"add worker", "remove worker"}, faults},
}

// misbehave strikes with one fault after the other until ctx is done; a fault that has begun is ended in its own time,
// since what it stopped must go on.
func (r *round) misbehave(ctx, until context.Context, a actor) error {
	rnd := rand.New(rand.NewPCG(r.plan.seed, a.seed))
	for turn := 0; ; turn++ {
		sleep(until, time.Duration(500+rnd.IntN(3500))*time.Millisecond)
		if until.Err() != nil {
			return nil
		}
		f := r.pick(rnd, a, turn)
		r.note("%s", f.name)
		if err := f.strike(ctx, r, rnd); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		r.note("%s: over", f.name)
		r.mu.Lock()
		r.struck[f.name]++
		r.mu.Unlock()
	}
}

// pick takes the fault of the opening, then chance decides.
func (r *round) pick(rnd *rand.Rand, a actor, turn int) fault {
	if turn < len(a.opening) {
		return a.faults[slices.IndexFunc(a.faults, func(f fault) bool { return f.name == a.opening[turn] })]
	}
	sum := 0
	for _, f := range a.faults {
		sum += f.weight
	}
	for {
		n := rnd.IntN(sum)
		for _, f := range a.faults {
			if n -= f.weight; n < 0 {
				if f.spares(r) {
					break
				}
				return f
			}
		}
	}
}

// whom says which processes a fault may strike now.
type whom func(*round) []*part

func the(name string) whom { return func(r *round) []*part { return []*part{r.procs[name]} } }

// seize picks one of them to which nothing is done at the moment, and locks it. That there is none for long is a fault of its
// own: nobody leads.
func (r *round) seize(ctx context.Context, rnd *rand.Rand, who whom) (*part, error) {
	ctx, cancel := context.WithTimeout(ctx, seizePatience)
	defer cancel()
	for ; ctx.Err() == nil; sleep(ctx, 100*time.Millisecond) {
		all := who(r)
		if len(all) == 0 {
			continue
		}
		p := all[rnd.IntN(len(all))]
		if !p.TryLock() {
			continue
		}
		switch {
		case p.gone:
			p.Unlock()
		case !p.proc.alive():
			defer p.Unlock()
			return nil, fmt.Errorf("%s ended by itself\n%s", p.name, p.proc.lastWords())
		default:
			return p, nil
		}
	}
	return nil, fmt.Errorf("nobody to strike for %v: %w", seizePatience, ctx.Err())
}

// seizePatience is longer than the sink's minute, and far longer than a fleet may be without a sequencer.
const seizePatience = 2 * time.Minute

// kills ends a process as an outage does and starts it again up to 4 s later. A worker comes back under another name.
func kills(who whom) func(context.Context, *round, *rand.Rand) error {
	return func(ctx context.Context, r *round, rnd *rand.Rand) error {
		return r.kill(ctx, rnd, who, time.Duration(rnd.IntN(4000))*time.Millisecond)
	}
}

func (r *round) kill(ctx context.Context, rnd *rand.Rand, who whom, away time.Duration) error {
	p, err := r.seize(ctx, rnd, who)
	if err != nil {
		return err
	}
	defer p.Unlock()
	r.note("kill %s", p.name)
	p.proc.kill()
	sleep(ctx, away)
	return p.begin(ctx)
}

// cloudGrace is what Cloud Run gives a process that is asked to end.
const cloudGrace = 10 * time.Second

// replaceWorker is a rollout.
func replaceWorker(ctx context.Context, r *round, rnd *rand.Rand) error {
	p, err := r.seize(ctx, rnd, (*round).workers)
	if err != nil {
		return err
	}
	defer p.Unlock()
	r.note("replace %s", p.name)
	if err := p.proc.stop(cloudGrace); err != nil {
		return err
	}
	return p.begin(ctx)
}

// addWorker returns when the new one has its place, or takes long for it: others may strike meanwhile.
func addWorker(ctx context.Context, r *round, _ *rand.Rand) error {
	r.mu.Lock()
	r.hired++
	n := r.hired
	r.mu.Unlock()
	p, err := r.t.workerPart(n)
	if err != nil {
		return err
	}
	p.Lock()
	err = p.begin(ctx)
	r.mu.Lock()
	r.crew = append(r.crew, p)
	r.mu.Unlock()
	p.Unlock()
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for ready := answersOK("http://" + p.console + "/readyz"); wait.Err() == nil && !ready(); {
		sleep(wait, 200*time.Millisecond)
	}
	return nil
}

func removeWorker(ctx context.Context, r *round, rnd *rand.Rand) error {
	p, err := r.seize(ctx, rnd, (*round).workers)
	if err != nil {
		return err
	}
	defer p.Unlock()
	r.note("remove %s", p.name)
	r.mu.Lock()
	r.crew = slices.DeleteFunc(r.crew, func(q *part) bool { return q == p })
	r.mu.Unlock()
	p.gone = true
	return p.proc.stop(cloudGrace)
}

func stops(who whom, most time.Duration) func(context.Context, *round, *rand.Rand) error {
	return func(ctx context.Context, r *round, rnd *rand.Rand) error {
		p, err := r.seize(ctx, rnd, who)
		if err != nil {
			return err
		}
		defer p.Unlock()
		d := time.Second + time.Duration(rnd.Int64N(int64(most)))
		r.note("stop %s for %v", p.name, d.Round(100*time.Millisecond))
		return p.proc.pause(ctx, d)
	}
}

// sinkAway kills the sink and leaves it away for long.
func (r *round) sinkAway(ctx context.Context, after, away time.Duration) error {
	sleep(ctx, after)
	r.note("sink away for %v", away)
	defer r.note("sink is back")
	r.mu.Lock()
	r.struck["sink away for a minute"]++
	r.mu.Unlock()
	return r.kill(ctx, rand.New(rand.NewPCG(r.plan.seed, 0)), the("sink"), away)
}

func injects(f broker.Fault) func(context.Context, *round, *rand.Rand) error {
	return func(ctx context.Context, r *round, rnd *rand.Rand) error {
		f := f
		f.Skip = rnd.IntN(20)
		body, err := json.Marshal(f)
		if err != nil {
			return err
		}
		return post(ctx, "http://"+r.t.control+"/fault", body, nil)
	}
}

// heal takes back the faults that have struck nobody yet.
func (r *round) heal(ctx context.Context) (err error) {
	if r.opts.sinks.google() {
		err = r.tellGoogle(ctx, "heal", nil)
	}
	if r.opts.emulator {
		return err
	}
	return errors.Join(err, post(ctx, "http://"+r.t.control+"/heal", nil, nil))
}

func dropStreams(ctx context.Context, r *round, _ *rand.Rand) error {
	return post(ctx, "http://"+r.t.control+"/drop", nil, nil)
}

func refuseStreams(ctx context.Context, r *round, rnd *rand.Rand) error {
	refuse := injects(broker.Fault{Method: "StreamingPull", Count: 10, Code: codes.Unavailable})
	return errors.Join(refuse(ctx, r, rnd), dropStreams(ctx, r, rnd))
}

// unacked asks the embedded broker how many messages the worker has not acked.
func (r *round) unacked(ctx context.Context) (n int, known bool) {
	var s broker.Stats
	if r.opts.emulator || getJSON(ctx, "http://"+r.t.control+"/stats", &s) != nil {
		return 0, false
	}
	for _, sub := range s.Subscriptions {
		if strings.HasSuffix(sub.Name, "-worker") {
			n += sub.Unacked
		}
	}
	return n, true
}

// emulatorPart is Google's, from the Cloud SDK.
func (t *target) emulatorPart() (*part, error) {
	program, err := queuetest.FindEmulator()
	if err != nil {
		return nil, err
	}
	host, port, _ := strings.Cut(t.broker, ":")
	return &part{t: t, name: "broker", binary: program, args: []string{"--host=" + host, "--port=" + port}, ready: listens(t.broker)}, nil
}
