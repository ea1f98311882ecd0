package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tailweir/queue"
	"tailweir/queue/broker"
	"tailweir/queue/queuetest"
)

// serve runs a broker for the length of the test.
func serve(t *testing.T) (*broker.Server, Config) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := broker.New(broker.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b, brief(l.Addr().String())
}

// brief is a load as short as its parts still work.
func brief(addr string) Config {
	return Config{Queue: queue.Config{Project: "p", Endpoint: addr}, Duration: 3 * time.Second, Publishers: 3, Subscriptions: 3, SkipSuite: true}
}

// verdicts are the verdicts other than go and without a limit, and what was measured.
func verdicts(r Report) map[string]Verdict {
	bad := map[string]Verdict{}
	for _, row := range r.Rows {
		if row.Verdict != Go && row.Verdict != Info && row.Verdict != Skipped {
			bad[row.What] = row.Verdict
		}
	}
	return bad
}

func nothingLeft(t *testing.T, b *broker.Server) {
	t.Helper()
	for _, s := range b.Stats().Subscriptions {
		t.Errorf("subscription %s is left", s.Name)
	}
	if n := len(b.Stats().Topics); n > 0 {
		t.Errorf("%d topics are left", n)
	}
}

func TestBrokerIsFit(t *testing.T) {
	t.Parallel()
	b, cfg := serve(t)
	r, err := measure(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if bad := verdicts(r); !r.Go || len(bad) > 0 || r.Timing == nil || len(r.Left) > 0 {
		t.Errorf("go %t, timing %v, left %v: %v", r.Go, r.Timing, r.Left, bad)
	}
	nothingLeft(t, b)
	var text, line bytes.Buffer
	r.Print(&text)
	for _, want := range []string{"\nGO\n", "fleet_timing:\n  death: 12s\n", "entries lost", "message back after a nack"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &text)
		}
	}
	var got struct {
		Go     bool
		Rows   []Row
		Timing map[string]float64 `json:"fleet_timing"`
	}
	if err := r.JSON(&line); err != nil || json.Unmarshal(line.Bytes(), &got) != nil || !got.Go || got.Timing["death"] != 12 || len(got.Rows) != len(r.Rows) {
		t.Errorf("%v: %s", err, &line)
	}
}

// What goes wrong on the way is seen as what it is: each fault by the rows that it must turn, and no others.
func TestFaultsAreSeen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault broker.Fault
		want  []string
		not   Verdict
	}{
		"slow deliveries": {broker.Fault{Method: "Deliver", Delay: 4500 * time.Millisecond, Skip: 40, Count: 3},
			[]string{"longest silence, subscription 0", "longest silence, subscription 1", "publish to read, subscription 0", "publish to read, subscription 1"}, NoGo},
		"slow publishing": {broker.Fault{Method: "Publish", Delay: 4500 * time.Millisecond, Skip: 40, Count: 1},
			[]string{"Publish on one key", "publish to read, subscription 0", "publish to read, subscription 1"}, NoGo},
		"answers lost":       {broker.Fault{Method: "Publish", Code: codes.Unavailable, After: true, Skip: 40, Count: 3}, []string{"Publish on one key"}, NoGo},
		"publishes refused":  {broker.Fault{Method: "Publish", Code: codes.Unavailable, Skip: 40, Count: 3}, []string{"Publish on one key"}, NoGo},
		"delivered twice":    {broker.Fault{Method: "Deliver", Duplicate: true}, nil, Go},
		"a stream that ends": {broker.Fault{Method: "Deliver", Code: codes.Unavailable, After: true, Skip: 40, Count: 1}, nil, Go},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, cfg := serve(t)
			cfg.Duration = 6 * time.Second
			conn := queuetest.Dial(t, cfg.Queue.Endpoint)
			run, err := newRun(t.Context(), cfg, newObjects(cfg.Queue, "x", conn))
			if err != nil {
				t.Fatal(err)
			}
			defer run.close()
			b.Inject(tt.fault)
			m := results{run: run}
			m.bursts, m.loadErr = run.load(t.Context())
			b.Heal()
			m.caughtUp = run.catchUp(t.Context())
			var r Report
			m.logRows(&r)
			m.readRows(&r)
			m.lateRows(&r)
			bad := verdicts(r)
			for _, what := range tt.want {
				if bad[what] == Raise && strings.Contains(what, "silence") {
					delete(bad, what) // 4.5 s is still to be had by a longer fence
				} else if bad[what] != tt.not {
					t.Errorf("%s: %q, want %q", what, bad[what], tt.not)
				}
				delete(bad, what)
			}
			for _, what := range slices.Sorted(maps.Keys(bad)) {
				t.Errorf("%s: %q", what, bad[what])
			}
			if name == "delivered twice" && !slices.ContainsFunc(r.Rows, func(row Row) bool { return row.What == "entries delivered again" && row.Measured != "0" }) {
				t.Error("no entry was delivered again")
			}
		})
	}
}

// A measurement that is out of its limit, or missing, is no go.
func TestVerdict(t *testing.T) {
	t.Parallel()
	healthy := func() *results {
		s := newScenario(100)
		for i := range s.entries {
			s.reads(0, i)
			s.reads(1, i)
		}
		s.subs[1].kind = reconnecting
		s.end(s.times[99] + ms(10))
		m := &results{run: &run{tracker: s.tracker}, suiteErr: errSkipped, bursts: []burst{{500, 100, time.Second}, {largeEntry, 1, time.Second}}}
		m.settled = map[string]settled{
			"lease": {least: lease, most: lease}, "dropped": {least: lease, most: lease}, "handback": {least: handBack, most: handBack},
			"nack": {}, "credit": {count: 5}, "ordered": {},
		}
		return m
	}
	for name, tt := range map[string]struct {
		change func(*results)
		want   string
	}{
		"healthy":               {func(*results) {}, "GO"},
		"inversion of 1 s":      {func(m *results) { m.run.tracker.subs[0].inversion = ms(1000) }, "GO"},
		"inversion of 1.6 s":    {func(m *results) { m.run.tracker.subs[0].inversion = ms(1600) }, "NO-GO: publish time goes back, at most"},
		"pair 1.6 s apart":      {func(m *results) { m.run.tracker.window.worst = 1600 * time.Millisecond }, "NO-GO: other order in another subscription, furthest apart"},
		"a publisher's order":   {func(m *results) { m.run.tracker.subs[1].breaks = 1 }, "NO-GO: order of one publisher broken, reader reconnects"},
		"a loss":                {func(m *results) { m.run.tracker.subs[1].seen[0][0] = 0 }, "NO-GO: entries lost, reader reconnects"},
		"unequal publish times": {func(m *results) { m.run.tracker.unequal = 1 }, "NO-GO: deliveries with another publish time"},
		"clocks":                {func(m *results) { m.run.tracker.window.clock.spread = ms(201) }, "NO-GO: publish times' clocks apart"},
		"another clock":         {func(m *results) { m.run.tracker.window.clock.low -= ms(2500) }, "NO-GO: publish time ahead of the local clock"},
		"slow bursts":           {func(m *results) { m.bursts[0].took = time.Minute }, "NO-GO: entries of 500 B, one after the other"},
		"a hole":                {func(m *results) { m.run.tracker.subscribe(late, ms(1500)) }, "NO-GO: entries lost, read back"},
		"a lease that ends early": {func(m *results) { m.settled["lease"] = settled{least: time.Second, most: lease} },
			"NO-GO: message back after a lease of 10s"},
		"a lease that is kept": {func(m *results) { m.settled["dropped"] = settled{err: errAway} }, "NO-GO: message back after its stream broke"},
		"a lease of 15 s":      {func(m *results) { m.settled["lease"] = settled{least: lease, most: 15 * time.Second} }, "GO"},
		"a hand-back too soon": {func(m *results) { m.settled["handback"] = settled{least: time.Second, most: handBack} },
			"NO-GO: message back after a hand-back for 15s"},
		"a slow nack":     {func(m *results) { m.settled["nack"] = settled{most: 6 * time.Second} }, "NO-GO: message back after a nack"},
		"no credit":       {func(m *results) { m.settled["credit"] = settled{count: 6} }, "NO-GO: unsettled messages with a credit of 5"},
		"a stalled key":   {func(m *results) { m.settled["ordered"] = settled{err: errAway} }, "GO"},
		"a check missing": {func(m *results) { m.settled["nack"] = settled{err: context.Canceled} }, "NO VERDICT, not measured: message back after a nack"},
		"a failed case": {func(m *results) {
			m.suiteErr, m.suite = nil, []queuetest.Outcome{{Case: "pull", Faults: []string{"no"}}}
		}, "NO-GO: conformance suite; pull"},
		"a skipped case":         {func(m *results) { m.suiteErr, m.suite = nil, []queuetest.Outcome{{Case: "pull", Skipped: "no"}} }, "GO"},
		"suite that did not run": {func(m *results) { m.suiteErr = context.Canceled }, "NO VERDICT, not measured: conformance suite"},
		"interrupted load": {func(m *results) { m.loadErr = context.Canceled; m.settled = nil },
			"NO VERDICT, not measured: publish time goes back, at most; "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := healthy()
			tt.change(m)
			r := m.report()
			if got := r.verdict(); !strings.HasPrefix(got, tt.want) || r.Go != (tt.want == "GO") {
				t.Errorf("go %t, %q; want %q", r.Go, got, tt.want)
			}
			if useless := m.loadErr != nil || m.run.tracker.worst() > endInversion; (r.Timing == nil) != useless {
				t.Errorf("timing %v", r.Timing)
			}
		})
	}
}

// An interrupt ends the run soon, the report says so, and nothing is left.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	b, cfg := serve(t)
	cfg.Duration, cfg.SkipSuite = time.Hour, false
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	start := time.Now()
	r, err := measure(ctx, cfg)
	if took := time.Since(start); err != nil || took > 10*time.Second {
		t.Errorf("measure = %v after %v, want no error soon after 2s", err, took)
	}
	if bad := verdicts(r); r.Go || bad["entries lost"] != NotMeasured || len(r.Left) > 0 {
		t.Errorf("go %t, left %v, %v", r.Go, r.Left, bad)
	}
	nothingLeft(t, b)
}

// What cannot be deleted is listed with the command that deletes it.
func TestLeft(t *testing.T) {
	t.Parallel()
	b, cfg := serve(t)
	b.Inject(broker.Fault{Method: "DeleteSubscription", Code: codes.PermissionDenied})
	b.Inject(broker.Fault{Method: "CreateTopic", Code: codes.PermissionDenied, Skip: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	r, err := measure(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	r.Print(&text)
	if n := len(b.Stats().Subscriptions); n != cfg.Subscriptions || len(b.Stats().Topics) != 0 {
		t.Errorf("%d subscriptions and %d topics on the server, want %d and none", n, len(b.Stats().Topics), cfg.Subscriptions)
	}
	for i := range cfg.Subscriptions {
		if want := fmt.Sprintf(`gcloud pubsub subscriptions delete tailweir-probe-[0-9a-f]{8}-log-%d --project p `, i); !regexp.MustCompile(want).MatchString(text.String()) {
			t.Errorf("the report lacks %s:\n%s", want, &text)
		}
	}
}

// A project where nothing can be made gets the reason, not a panic.
func TestRefused(t *testing.T) {
	t.Parallel()
	b, cfg := serve(t)
	b.Inject(broker.Fault{Method: "CreateTopic", Code: codes.PermissionDenied})
	r, err := measure(t.Context(), cfg)
	var text strings.Builder
	r.Print(&text)
	if err != nil || r.Go || !strings.Contains(text.String(), "PermissionDenied") {
		t.Errorf("%v, go %t:\n%s", err, r.Go, &text)
	}
	nothingLeft(t, b)
}

// Google's emulator cannot seek and knows no credit; the rest of it is fit, but for its speed, which is not judged here.
func TestEmulator(t *testing.T) {
	t.Parallel()
	r, err := measure(t.Context(), brief(queuetest.Emulator(t)))
	if err != nil {
		t.Fatal(err)
	}
	bad := verdicts(r)
	for what, want := range map[string]Verdict{
		"entries lost, read back": NotMeasured, "unsettled messages with a credit of 5": NoGo,
		"entries lost": "", "order of one publisher broken": "", "deliveries with another publish time": "",
		"message back after a lease of 10s": "", "message back after a hand-back for 15s": "",
	} {
		if bad[what] != want {
			t.Errorf("%s: %q, want %q", what, bad[what], want)
		}
	}
	var text strings.Builder
	if r.Print(&text); !strings.Contains(text.String(), "the service says Unimplemented") || len(r.Left) > 0 {
		t.Errorf("left %v:\n%s", r.Left, &text)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := Config{Queue: queue.Config{Project: "p"}, Duration: 20 * time.Second, Publishers: 2, Subscriptions: 20}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{Duration: 19 * time.Second, Publishers: 1, Subscriptions: 21}
	for _, want := range []string{"project is empty", "duration is 19s, want 20s to 6h0m0s", "publishers is 1, want 2 to 20", "subscriptions is 21, want 2 to 20"} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	if _, err := Run(t.Context(), bad); err == nil {
		t.Error("Run with a bad configuration")
	}
}
