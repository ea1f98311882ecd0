package main

import (
	"context"
	"encoding/json"
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
	spares func(r *round) bool // rounds in which it is not allowed, with the reason beside it
	strike func(ctx context.Context, r *round, rnd *rand.Rand) error
}

func anywhere(*round) bool { return false }

// underPressure spares the worker where messages are handed back: a trace may then be exported and acked but for a part
// that returns later. Its worker remembers the decision, another one would not; until decisions are shared that part is lost with
// the worker.
func underPressure(r *round) bool { return r.plan.pressure }

func withoutControl(r *round) bool { return r.opts.emulator }

// faults is all that happens. The broker is never killed: it stands for Pub/Sub, which keeps what it confirmed.
var faults = []fault{
	{"kill ingest", 3, anywhere, kills("ingest")},
	{"kill worker", 4, underPressure, kills("worker")},
	{"kill sink", 3, anywhere, kills("sink")},
	{"replace worker", 2, underPressure, replaceWorker},
	{"stop ingest", 1, anywhere, stops("ingest", 8*time.Second)},
	{"stop worker", 2, anywhere, stops("worker", 16*time.Second)}, // longer than the ack deadline: its messages are delivered again
	{"stop sink", 1, anywhere, stops("sink", 12*time.Second)},     // longer than the exporter's timeout
	{"stop broker", 1, anywhere, stops("broker", 6*time.Second)},
	{"poison", 2, anywhere, poison},
	{"publish fails", 2, withoutControl, injects(broker.Fault{Method: "Publish", Count: 30, Code: codes.Unavailable})},
	{"publish is done and fails", 2, withoutControl, injects(broker.Fault{Method: "Publish", Count: 10, Code: codes.Internal, After: true})},
	{"publish is slow", 1, withoutControl, injects(broker.Fault{Method: "Publish", Count: 50, Delay: 3 * time.Second})},
	{"ack fails", 2, withoutControl, injects(broker.Fault{Method: "Acknowledge", Count: 5, Code: codes.Unavailable})},
	{"ack is done and fails", 1, withoutControl, injects(broker.Fault{Method: "Acknowledge", Count: 5, Code: codes.Unavailable, After: true})},
	{"extension fails", 1, withoutControl, injects(broker.Fault{Method: "ModifyAckDeadline", Count: 10, Code: codes.Unavailable})},
	{"delivery is slow", 1, withoutControl, injects(broker.Fault{Method: "Deliver", Count: 20, Delay: 500 * time.Millisecond})},
	{"delivered twice", 2, withoutControl, injects(broker.Fault{Method: "Deliver", Count: 10, Duplicate: true})},
	{"streams dropped", 2, withoutControl, dropStreams},
}

// misbehave strikes with one fault after the other until ctx is done; a fault that has begun is ended in its own time,
// since what it stopped must go on.
func (r *round) misbehave(ctx, until context.Context, actor int) error {
	rnd := rand.New(rand.NewPCG(r.plan.seed, uint64(actor)))
	for next := opening[actor]; ; next = "" {
		sleep(until, time.Duration(500+rnd.IntN(3500))*time.Millisecond)
		if until.Err() != nil {
			return nil
		}
		f := r.pick(rnd, next)
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

// opening is what each actor begins with: without a redelivery and a retry a round proves nothing.
var opening = [...]string{"kill worker", "kill ingest"}

// pick draws a fault; one that is named is taken if it is allowed.
func (r *round) pick(rnd *rand.Rand, name string) fault {
	if i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name }); i >= 0 && !faults[i].spares(r) {
		return faults[i]
	}
	sum := 0
	for _, f := range faults {
		sum += f.weight
	}
	for {
		n := rnd.IntN(sum)
		for _, f := range faults {
			if n -= f.weight; n < 0 {
				// Google's emulator never forgets a stream whose client was killed (see emulatorReturn): one is enough.
				if f.spares(r) || r.opts.emulator && f.name == opening[0] {
					break
				}
				return f
			}
		}
	}
}

// kills ends a process as an outage does and starts it again up to 4 s later.
func kills(name string) func(context.Context, *round, *rand.Rand) error {
	return func(ctx context.Context, r *round, rnd *rand.Rand) error {
		return r.kill(ctx, name, time.Duration(rnd.IntN(4000))*time.Millisecond)
	}
}

func (r *round) kill(ctx context.Context, name string, away time.Duration) error {
	p := r.procs[name]
	p.Lock()
	defer p.Unlock()
	if !p.proc.alive() {
		return fmt.Errorf("%s ended by itself\n%s", name, p.proc.lastWords())
	}
	p.proc.kill()
	r.forget(name)
	sleep(ctx, away)
	return p.begin(ctx)
}

// forget notes when decisions were lost.
func (r *round) forget(name string) {
	if name != "worker" {
		return
	}
	r.mu.Lock()
	r.forgot = append(r.forgot, time.Now().UnixMilli())
	r.mu.Unlock()
}

// replaceWorker is a rollout: the worker is asked to end, and has to within the grace that Cloud Run gives.
func replaceWorker(ctx context.Context, r *round, _ *rand.Rand) error {
	p := r.procs["worker"]
	p.Lock()
	defer p.Unlock()
	if err := p.proc.stop(10 * time.Second); err != nil {
		return err
	}
	r.forget("worker")
	return p.begin(ctx)
}

func stops(name string, most time.Duration) func(context.Context, *round, *rand.Rand) error {
	return func(ctx context.Context, r *round, rnd *rand.Rand) error {
		p := r.procs[name]
		p.Lock()
		defer p.Unlock()
		return p.proc.pause(ctx, time.Second+time.Duration(rnd.Int64N(int64(most))))
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
	return r.kill(ctx, "sink", away)
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
func (r *round) heal(ctx context.Context) error {
	if r.opts.emulator {
		return nil
	}
	return post(ctx, "http://"+r.t.control+"/heal", nil, nil)
}

func dropStreams(ctx context.Context, r *round, _ *rand.Rand) error {
	return post(ctx, "http://"+r.t.control+"/drop", nil, nil)
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

// emulator is Google's, from the Cloud SDK.
func emulator(addr string) (part, error) {
	program, err := queuetest.FindEmulator()
	if err != nil {
		return part{}, err
	}
	host, port, _ := strings.Cut(addr, ":")
	return part{name: "broker", binary: program, args: []string{"--host=" + host, "--port=" + port}, ready: listens(addr)}, nil
}
