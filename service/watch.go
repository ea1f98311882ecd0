package service

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"tailweir/fleet/order"
	"tailweir/queue"
)

// LogReport is what a fleet's log says, without asking any worker.
type LogReport struct {
	Log    string    `json:"log"`    // the topic
	Live   bool      `json:"live"`   // the service could not go back: read from now on
	Begin  time.Time `json:"begin"`  // publish time from which on it was read
	Newest time.Time `json:"newest"` // of the last message; zero: there is none
	AgeMS  int64     `json:"age_ms"` // of that message

	Known    bool      `json:"known"` // whether Leader to Policy are known
	Leader   string    `json:"leader"`
	Since    time.Time `json:"since"` // publish time of its claim
	Term     string    `json:"term"`
	Seq      uint64    `json:"seq"` // of the last entry that counts
	Resigned bool      `json:"resigned"`
	Members  []string  `json:"members"`
	Epoch    uint64    `json:"epoch"`
	Policy   string    `json:"policy"` // hash of the active set; "" while none was announced

	Claims     int64            `json:"claims"`
	Probes     int64            `json:"probes"`
	Terms      int64            `json:"terms"`      // leaders
	Unreadable int64            `json:"unreadable"` // not a fleet's, or a later version's
	Anomalies  map[string]int64 `json:"anomalies"`

	PeriodMS int64   `json:"period_ms"` // that the rates below are over
	Entries  float64 `json:"entries_per_second"`
	Kept     float64 `json:"kept_per_second"` // decisions
	Dropped  float64 `json:"dropped_per_second"`
}

// How long WatchLog waits before it reports. Leaders write twice a second.
const (
	silentLog   = 3 * time.Second  // nothing comes: nobody writes
	anchorWait  = 15 * time.Second // messages come, but do not say yet who leads
	longestRead = 2 * time.Minute  // of a log that is written faster than it is read
	watchEvery  = 2 * time.Second
)

// WatchLog reads the log from since ago on, by a subscription of its own, and shows what it says when it has caught up. While
// show returns true it shows the same every 2 s, with the rates of that time.
func WatchLog(ctx context.Context, cfg Config, client *queue.Client, since time.Duration, show func(LogReport) bool) (err error) {
	began := time.Now()
	r, err := client.SubscribeLog(ctx, queue.LogConfig{
		Topic: cfg.Queue.Log, Subscription: fmt.Sprintf("%swatch-%08x", cfg.Queue.LogPrefix, rand.Uint32()), From: began.Add(-since),
		Logger: CloudLog(quietly{}),
	})
	if err != nil {
		return err
	}
	read, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	w := newLogWatch(cfg, r.Start())
	go func() { done <- r.Run(read, w.take) }()
	defer func() {
		stop()
		if e := <-done; err == nil {
			err = e
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if e := r.Close(end); err == nil {
			err = e
		}
	}()
	for first := true; ; first = false {
		if !w.wait(ctx, began, first) {
			return nil
		}
		report := w.report(time.Now())
		report.Log, report.Live = cfg.Queue.Log, report.Begin.After(began)
		if !show(report) {
			return nil
		}
	}
}

// quietly is a log that nobody reads: a reconnect is no news to who looks at a report.
type quietly struct{}

func (quietly) Write(b []byte) (int, error) { return len(b), nil }

// logWatch reads a log. It is safe for concurrent use.
type logWatch struct {
	delta time.Duration

	mu      sync.Mutex // guards all below
	replica *order.Replica
	begin   time.Time
	oldest  time.Time // publish time of the first message, and of the last
	newest  time.Time
	came    time.Time // when a message last came
	count   counted
	shown   counted // what the last report counted
	shownAt time.Time

	claims, probes, terms, unreadable int64
}

// counted is what rates are made of.
type counted struct{ entries, kept, dropped int64 }

func newLogWatch(cfg Config, begin time.Time) *logWatch {
	c := cfg.Timing.Order()
	return &logWatch{replica: order.New(c, begin.UnixMilli()), delta: c.Defaults().Delta, begin: begin, came: time.Now()}
}

func (w *logWatch) take(data []byte, publish time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.came = time.Now()
	if publish.After(w.newest) {
		w.newest = publish
	}
	if w.oldest.IsZero() || publish.Before(w.oldest) {
		w.oldest = publish
	}
	if publish.Before(w.begin) {
		w.begin = publish // older ones may come, and some emulators deliver all that they retain instead of seeking
	}
	m, err := order.Parse(data)
	if err != nil {
		w.unreadable++
		return
	}
	switch m.(type) {
	case order.Claim:
		w.claims++
	case order.Probe:
		w.probes++
	case order.Unknown:
		w.unreadable++
	}
	for _, e := range w.replica.Read(m, publish.UnixMilli(), order.Sum(data)) {
		switch e := e.(type) {
		case order.NewLeader:
			w.terms++
		case order.Accepted:
			w.accept(e.Entry.Body.Decide)
		case order.Anomaly:
			// A worker would read everything again. Here it is enough to go on from where all is still to come.
			w.replica.Reset(w.newest.Add(w.delta).UnixMilli())
		}
	}
}

func (w *logWatch) accept(decided []order.Decision) {
	w.count.entries++
	for _, d := range decided {
		if d.Keep {
			w.count.kept++
		} else {
			w.count.dropped++
		}
	}
}

// wait reports whether there is something to show: when the log was read up to began at first, else after watchEvery.
func (w *logWatch) wait(ctx context.Context, began time.Time, first bool) bool {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for from := time.Now(); ; {
		select {
		case <-ctx.Done():
			return false
		case now := <-tick.C:
			if first && w.caughtUp(now, began) || !first && now.Sub(from) >= watchEvery {
				return true
			}
		}
	}
}

func (w *logWatch) caughtUp(now, began time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, known := w.replica.Status()
	current := !w.newest.Before(began)
	return now.Sub(w.came) >= silentLog || current && known || current && now.Sub(began) >= anchorWait || now.Sub(began) >= longestRead
}

// report also begins the period of the next one's rates. The first one's is what was read, by publish time.
func (w *logWatch) report(now time.Time) LogReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := LogReport{
		Begin: w.begin, Newest: w.newest, Members: []string{}, Anomalies: map[string]int64{},
		Claims: w.claims, Probes: w.probes, Terms: w.terms, Unreadable: w.unreadable,
	}
	for kind, n := range w.replica.Anomalies() {
		if n > 0 {
			r.Anomalies[order.Kind(kind).String()] = n
		}
	}
	if !w.newest.IsZero() {
		r.AgeMS = now.Sub(w.newest).Milliseconds()
	}
	period := now.Sub(w.shownAt)
	if w.shownAt.IsZero() {
		period = w.newest.Sub(w.oldest)
	}
	if s := period.Seconds(); s > 0 {
		r.PeriodMS = period.Milliseconds()
		r.Entries = float64(w.count.entries-w.shown.entries) / s
		r.Kept = float64(w.count.kept-w.shown.kept) / s
		r.Dropped = float64(w.count.dropped-w.shown.dropped) / s
	}
	w.shown, w.shownAt = w.count, now
	if s, known := w.replica.Status(); known {
		r.state(s)
	}
	return r
}

func (r *LogReport) state(s order.Status) {
	r.Known, r.Leader, r.Term = s.Open, name(s.Term.Worker), fmt.Sprintf("%x", s.Term.ID[:])
	r.Since, r.Seq, r.Resigned = time.UnixMilli(s.Term.Claim), s.Seq, s.Resigned
	for _, m := range s.Members {
		r.Members = append(r.Members, name(m.Worker))
	}
	if s.Policy != nil {
		r.Epoch, r.Policy = s.Policy.Epoch, hash(uint64(s.Policy.Hash))
	}
}

func name(w order.Worker) string { return fmt.Sprintf("%016x", uint64(w)) }
