package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"tailweir/buffer"
)

// The load: 5 messages a second of 12 kB, three traces in each and each trace in three messages; a third of the traces is
// to be kept. Ten minutes of it are more than four times what the hold takes.
const (
	outage     = 10 * time.Minute
	outageHold = 8 << 20
	outageGap  = 200 * time.Millisecond
	outageBack = 30 * time.Second
	outageTail = 5 * time.Second // what is younger is un-acked because it is not decided
	messageLow = 12_000          // what a message has of bytes at least
	messageTop = 14_000          // what it is charged at most
)

// While the backend is away for ten minutes under load, memory stays within its budget and messages come and go no oftener
// than they have to. When it is back, what is to be kept arrives once, and sooner than it came.
func TestOutage(t *testing.T) {
	for name, counted := range map[string]bool{"deliveries counted": true, "deliveries not counted": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runOutage(t, counted) })
		})
	}
}

func runOutage(t *testing.T, counted bool) {
	w, err := newWorld(scenario{
		attempts: counted, maxBytes: outageHold, batchBytes: 1 << 20, keep: LogsAll, handBack: outageBack, slack: 500 * time.Millisecond,
		window: buffer.Config{Settle: 2 * time.Second, Idle: 3 * time.Second, MaxAge: 10 * time.Second}.Defaults(),
	}, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.begin()
	defer w.life.end() // where the test ends early
	w.load(t, time.Minute)
	if n := w.unacked(time.Now().Add(-outageTail)); n > 0 {
		t.Fatalf("%d messages wait before the outage", n)
	}
	w.mu.Lock()
	w.export = mode{kind: "away"}
	w.mu.Unlock()
	w.load(t, outage)
	w.recover(t)
	w.drain()
	w.judgeOutage(t)
	w.stop(time.Minute)
	time.Sleep(time.Hour) // let the queue's timers end
	for _, f := range w.judge.faults {
		t.Error(f)
	}
}

// load publishes for a while and looks at every message's arrival whether the ledger adds up.
func (w *world) load(t *testing.T, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(outageGap) {
		w.loaded++
		p := &payload{good: true}
		for trace := max(w.loaded, 3) - 2; trace <= w.loaded; trace++ {
			x := item{trace: 1, id: uint32(trace<<16 | w.loaded - trace), pad: 4000}
			x.root, x.bad = trace == w.loaded, trace%3 == 0 && trace == w.loaded
			p.items = append(p.items, x)
		}
		p.data, p.attrs = encodeItems(p.items), attrs(p.items[0].signal())
		w.publish(p)
		if synctest.Wait(); !w.well() {
			t.Fatal(w.judge.faults)
		}
	}
}

// recover heals the backend and times how long the backlog takes, with the load going on.
func (w *world) recover(t *testing.T) {
	healed := time.Now()
	backlog := w.unacked(healed)
	if backlog*messageLow < 4*outageHold {
		t.Fatalf("a backlog of %d messages is no test", backlog)
	}
	w.mu.Lock()
	w.export = mode{}
	w.mu.Unlock()
	for w.unacked(healed) > 0 && time.Since(healed) < outage {
		w.load(t, time.Second)
	}
	took := time.Since(healed)
	t.Logf("a backlog of %d messages took %s", backlog, took)
	if left := w.unacked(healed); left > 0 {
		t.Errorf("%d of %d messages of the backlog are left after %s", left, backlog, took)
	}
	if came, went := float64(time.Second)/float64(outageGap), float64(backlog)/took.Seconds(); went < 2*came {
		t.Errorf("the backlog goes at %.0f messages/s and came at %.0f", went, came)
	}
}

// unacked is how many messages published before t are not acked.
func (w *world) unacked(t time.Time) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.messages {
		if !m.acked && m.at.Before(t) {
			n++
		}
	}
	return n
}

// judgeOutage judges what the model does not: memory, how often messages came and went, and that what is to be kept arrived
// once and whole. That nothing else did the model has seen at each export.
func (w *world) judgeOutage(t *testing.T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	const workers = 2
	if top := int64(outageHold + workers*messageTop); w.life.peak > top {
		t.Errorf("%d bytes were held, want at most %d", w.life.peak, top)
	}
	if w.nacks > 0 {
		t.Errorf("%d nacks", w.nacks)
	}
	most, all := 0, 0
	for _, m := range w.messages {
		most, all = max(most, m.returns), all+m.returns
		if bound := int(m.until.Sub(m.at)/outageBack) + 1; m.returns > bound {
			t.Errorf("%s was handed back %d times, want at most %d", m.id, m.returns, bound)
		}
	}
	kept := 0
	for key, x := range w.judge.items {
		want := 0
		if (x.id>>16)%3 == 0 {
			want = 1
			kept++
		}
		if n := w.judge.exported[key]; n != want {
			t.Errorf("span %d of trace %d was exported %d times, want %d", x.id&0xffff, x.id>>16, n, want)
		}
	}
	t.Logf("%d messages, %d spans kept, handed back %d times, one at most %d times, peak %d bytes", len(w.messages), kept, all, most, w.life.peak)
}
