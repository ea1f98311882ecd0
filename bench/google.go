package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"tailweir/bench/sink"
	"tailweir/exporter/googletest"
)

// sinks are the types of the exporters that a worker has, one for each signal. The zero value is OTLP for both.
type sinks struct{ traces, logs string }

const typeOTLP = "otlp"

// Set reads types with commas between. What is for one signal alone gets it, what is for both gets the rest, and OTLP what is left.
func (s *sinks) Set(list string) error {
	*s = sinks{}
	names := strings.Split(list, ",")
	for _, name := range names {
		free := true
		switch name {
		case "cloudtrace":
			free, s.traces = s.traces == "", name
		case "cloudlogging":
			free, s.logs = s.logs == "", name
		}
		if !free {
			return fmt.Errorf("%q comes twice", name)
		}
	}
	for _, name := range names {
		switch {
		case name == "cloudtrace" || name == "cloudlogging":
		case name != typeOTLP && name != "telemetry":
			return fmt.Errorf("%q: want otlp, telemetry, cloudtrace or cloudlogging", name)
		case s.traces != "" && s.logs != "":
			return fmt.Errorf("%q: others take both signals", name)
		default:
			s.traces, s.logs = cmp.Or(s.traces, name), cmp.Or(s.logs, name)
		}
	}
	return nil
}

// String is what Set reads.
func (s *sinks) String() string {
	if s.traces == s.logs {
		return cmp.Or(s.traces, typeOTLP)
	}
	return cmp.Or(s.traces, typeOTLP) + "," + cmp.Or(s.logs, typeOTLP)
}

// google says whether one of them is an API of Google's.
func (s *sinks) google() bool { return s.String() != typeOTLP }

// exporters is the worker's setting.
func (t *target) exporters(rpc bool) string {
	traces, logs := cmp.Or(t.sinks.traces, typeOTLP), cmp.Or(t.sinks.logs, typeOTLP)
	if traces == logs {
		return "exporters:\n" + t.exporter(traces, "traces, logs", rpc)
	}
	return "exporters:\n" + t.exporter(traces, "traces", rpc) + t.exporter(logs, "logs", rpc)
}

func (t *target) exporter(name, signals string, rpc bool) string {
	at := fmt.Sprintf("endpoint: %q, insecure: true, project: tailweir-bench", t.google)
	switch {
	case name == typeOTLP && rpc:
		at = fmt.Sprintf("endpoint: %q", "grpc://"+t.sinkRPC)
	case name == typeOTLP:
		at = fmt.Sprintf("endpoint: %q", "http://"+t.sink)
	}
	return fmt.Sprintf("  - {type: %s, %s, signals: [%s]}\n", name, at, signals)
}

func withoutGoogle(r *round) bool { return !r.opts.sinks.google() }

func withoutEntries(r *round) bool { return r.opts.sinks.logs != "cloudlogging" }

// misbehaveGoogle begins when the first kept trace goes out. In a round of many faults that may be long after the load ended, and all
// of it may go out within seconds, so what a round must have does not wait: requests under way while the fakes are killed,
// then answers that are lost, entries that are refused alone, and a quota that lets little through.
func (r *round) misbehaveGoogle(ctx context.Context) error {
	rnd := rand.New(rand.NewPCG(r.plan.seed, uint64(len(actors))))
	err := r.awaitGoogle(ctx)
	if err == nil {
		err = r.withSink(ctx, rnd, func(p *part) error { return r.openGoogle(ctx, p) })
	}
	if err != nil {
		return err
	}
	sleep(ctx, 8*time.Second)
	if err := r.withSink(ctx, rnd, func(*part) error { return r.setQuotas(ctx, googletest.Quota{}) }); err != nil {
		return err
	}
	until, enough := context.WithTimeout(ctx, 20*time.Second)
	defer enough()
	return r.misbehave(ctx, until, actor{seed: rnd.Uint64(), faults: googleFaults})
}

func (r *round) openGoogle(ctx context.Context, p *part) error {
	r.mu.Lock()
	r.struck["google's opening"]++
	r.mu.Unlock()
	r.note("kill %s in mid-request, then lost answers, refused entries and a quota storm", p.name)
	p.proc.kill()
	if err := p.begin(ctx); err != nil {
		return err
	}
	return errors.Join(
		r.tellGoogle(ctx, "fault", googletest.Fault{API: googletest.CloudLogging, Count: 3, Entries: someEntries, Code: codes.PermissionDenied}),
		r.tellGoogle(ctx, "fault", googletest.Fault{Count: 5, Code: codes.Unavailable, After: true}),
		r.setQuotas(ctx, googletest.Quota{PerSecond: 2, RetryInfo: time.Second}))
}

// someEntries are refused of a request; where it has no others it is refused as a whole.
var someEntries = []int{0, 1, 5, 30}

// awaitGoogle lets every request wait that comes to the fakes, its data written, and returns when there is one. The sink may be
// killed by others meanwhile.
func (r *round) awaitGoogle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainGrace)
	defer cancel()
	for ; ctx.Err() == nil; sleep(ctx, 200*time.Millisecond) {
		var s googletest.Stats
		if getJSON(ctx, "http://"+r.t.sink+"/google/stats", &s) != nil {
			continue
		}
		if len(s.Requests) > 0 {
			return nil
		}
		_ = r.tellGoogle(ctx, "heal", nil)
		_ = r.tellGoogle(ctx, "fault", googletest.Fault{Hang: true, After: true}) // both are said again, and the first may be lost
	}
	return fmt.Errorf("nothing came to Google's APIs in %v: %w", drainGrace, ctx.Err())
}

// googleFaults strike requests to the fakes. What they answer is what passes: an answer that says that the data is at fault would
// make dead letters of it, and rightly. INTERNAL is taken for that when it is said six times, so it is said once.
var googleFaults = []fault{
	{"google fails", 1, withoutGoogle, google(googletest.Fault{Count: 10, Code: codes.Unavailable})},
	{"google has no quota left", 1, withoutGoogle, google(googletest.Fault{Count: 5, Code: codes.ResourceExhausted, RetryInfo: 2 * time.Second})},
	{"google is done and fails", 2, withoutGoogle, google(googletest.Fault{Count: 5, Code: codes.Unavailable, After: true})},
	{"google is done and breaks", 1, withoutGoogle, google(googletest.Fault{Count: 1, Code: codes.Internal, After: true})},
	{"google is done and silent", 1, withoutGoogle, google(googletest.Fault{Count: 3, Hang: true, After: true})},
	{"google is slow", 1, withoutGoogle, google(googletest.Fault{Count: 20, Delay: 2 * time.Second})},
	{"entries refused", 2, withoutEntries, google(googletest.Fault{API: googletest.CloudLogging, Count: 5, Entries: someEntries, Code: codes.PermissionDenied})},
	{"quota storm", 2, withoutGoogle, quotaStorm},
	{"restart in mid-request", 2, withoutGoogle, restartMidRequest},
}

// google injects a fault into the fakes, where it waits for requests.
func google(f googletest.Fault) func(context.Context, *round, *rand.Rand) error {
	return func(ctx context.Context, r *round, rnd *rand.Rand) error {
		return r.withSink(ctx, rnd, func(*part) error {
			f := f
			f.Skip = rnd.IntN(5)
			return r.tellGoogle(ctx, "fault", f)
		})
	}
}

// quotaStorm leaves each API a request or two a second for a while, with and without a word on when to come back.
func quotaStorm(ctx context.Context, r *round, rnd *rand.Rand) error {
	q := googletest.Quota{PerSecond: 1 + rnd.Float64(), Burst: 1}
	if rnd.IntN(2) == 0 {
		q.RetryInfo = time.Second
	}
	away := 5*time.Second + time.Duration(rnd.Int64N(int64(10*time.Second)))
	return r.withSink(ctx, rnd, func(*part) error {
		r.note("%.1f requests a second for %v", q.PerSecond, away.Round(100*time.Millisecond))
		err := r.setQuotas(ctx, q)
		sleep(ctx, away)
		return errors.Join(err, r.setQuotas(ctx, googletest.Quota{}))
	})
}

func (r *round) setQuotas(ctx context.Context, q googletest.Quota) (err error) {
	for _, api := range []googletest.API{googletest.CloudTrace, googletest.CloudLogging, googletest.Telemetry} {
		err = errors.Join(err, r.tellGoogle(ctx, "quota", sink.Quota{API: api, Quota: q}))
	}
	return err
}

// restartMidRequest kills the fakes while requests wait whose data is written already, and starts them on the same port.
func restartMidRequest(ctx context.Context, r *round, rnd *rand.Rand) error {
	return r.withSink(ctx, rnd, func(p *part) error {
		if err := r.tellGoogle(ctx, "fault", googletest.Fault{Hang: true, After: true}); err != nil {
			return err
		}
		sleep(ctx, time.Second+time.Duration(rnd.Int64N(int64(4*time.Second))))
		r.note("kill %s in mid-request", p.name)
		p.proc.kill()
		return p.begin(ctx)
	})
}

// withSink does something while nobody else does anything to the sink.
func (r *round) withSink(ctx context.Context, rnd *rand.Rand, do func(*part) error) error {
	p, err := r.seize(ctx, rnd, the("sink"))
	if err != nil {
		return err
	}
	defer p.Unlock()
	return do(p)
}

func (r *round) tellGoogle(ctx context.Context, what string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return post(ctx, "http://"+r.t.sink+"/google/"+what, body, nil)
}
