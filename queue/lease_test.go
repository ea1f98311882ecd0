package queue

import (
	"fmt"
	"testing"
	"time"
)

func testLeases(n int) []*lease {
	batch := make([]*lease, n)
	for i := range batch {
		id := fmt.Sprint(i)
		batch[i] = &lease{ackID: "ack-" + id, messageID: id, bytes: 10}
	}
	return batch
}

// Every lease must be extended when between 40 and 60 % of it has passed, whenever the message came.
func TestLeasesAreExtendedAtHalfLife(t *testing.T) {
	const life = 10 * time.Second
	start := time.Unix(1000, 0)
	table := newLeases(life)
	table.start(start)
	all := testLeases(1000)
	last := make(map[*lease]time.Time)
	extensions := 0
	for ms := 0; ms < 60_000; ms += 50 {
		now := start.Add(time.Duration(ms) * time.Millisecond)
		if i := ms / 50; i < len(all) {
			table.add(now, all[i:i+1], false)
			last[all[i]] = now
		}
		batch := table.due(now)
		for _, l := range batch {
			if age := now.Sub(last[l]); age < 4*time.Second || age > 6*time.Second {
				t.Fatalf("lease %s extended at age %v", l.messageID, age)
			}
			last[l] = now
		}
		extensions += len(batch)
		table.extended(batch, now, true)
	}
	end := start.Add(time.Minute)
	for _, l := range all {
		if age := end.Sub(last[l]); age > 6*time.Second {
			t.Fatalf("lease %s not extended for %v", l.messageID, age)
		}
		if want := last[l].Add(life); !l.expiry.Equal(want) {
			t.Fatalf("lease %s expires at %v, want %v", l.messageID, l.expiry, want)
		}
	}
	if got := table.stats.Extensions; got != uint64(extensions) || extensions == 0 {
		t.Errorf("Extensions = %d, want %d", got, extensions)
	}
}

func TestAgedLeaseIsDueAtOnce(t *testing.T) {
	start := time.Unix(1000, 0)
	table := newLeases(10 * time.Second)
	table.start(start)
	batch := testLeases(2)
	table.add(start, batch[:1], false)
	table.add(start, batch[1:], true)
	if got := table.due(start.Add(table.step())); len(got) != 1 || got[0] != batch[1] {
		t.Errorf("due at the first tick: %v, want the aged lease alone", got)
	}
}

// A process that was stopped for a minute extends everything once, not once for each tick it missed.
func TestLeasesAfterSleep(t *testing.T) {
	start := time.Unix(1000, 0)
	table := newLeases(10 * time.Second)
	table.start(start)
	table.add(start, testLeases(5), false)
	now := start.Add(time.Minute)
	if got := table.due(now); len(got) != 5 {
		t.Errorf("due after the sleep: %d leases, want 5", len(got))
	}
	if got := table.due(now.Add(table.step() / 2)); len(got) != 0 {
		t.Errorf("due half a tick later: %d leases, want 0", len(got))
	}
}

func TestSettledLeases(t *testing.T) {
	tests := []struct {
		name     string
		state    leaseState
		extended bool
		want     Stats
	}{
		{"acking is extended until confirmed", leaseAcking, true, Stats{Acked: 1}},
		{"returning is not extended", leaseReturning, false, Stats{Nacked: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			start := time.Unix(1000, 0)
			table := newLeases(10 * time.Second)
			table.start(start)
			batch := testLeases(1)
			table.add(start, batch, false)
			table.settle(batch[0], test.state, 0)
			if n, bytes := table.holding(); n != 0 || bytes != 0 {
				t.Errorf("holding() = %d, %d after settling", n, bytes)
			}
			due := table.due(start.Add(6 * time.Second))
			if got := len(due) == 1; got != test.extended {
				t.Errorf("extended = %v, want %v", got, test.extended)
			}
			table.extended(due, start, true)
			table.sent(batch, true)
			if table.stats.Acked != test.want.Acked || table.stats.Nacked != test.want.Nacked {
				t.Errorf("stats = %+v, want %+v", table.stats, test.want)
			}
			if again := table.due(start.Add(12 * time.Second)); len(again) != 0 {
				t.Errorf("%d leases extended after the end", len(again))
			}
		})
	}
}

// The later of an extension and a hand-back to reach the server would win, so the second waits for the first.
func TestHandBackWaitsForExtension(t *testing.T) {
	start := time.Unix(1000, 0)
	table := newLeases(10 * time.Second)
	table.start(start)
	batch := testLeases(1)
	table.add(start, batch, true)
	due := table.due(start.Add(table.step()))
	table.settle(batch[0], leaseReturning, 30)
	if _, returns := table.take(); len(returns) != 0 {
		t.Fatal("returned while an extension was under way")
	}
	table.extended(due, start, true)
	if _, returns := table.take(); len(returns) != 1 || returns[0].delay != 30 {
		t.Fatalf("returns after the extension: %v, want the message with 30 s", returns)
	}
	if table.unconfirmed() != 1 {
		t.Errorf("unconfirmed() = %d, want 1", table.unconfirmed())
	}
}

func TestSettleTwicePanics(t *testing.T) {
	table := newLeases(10 * time.Second)
	batch := testLeases(1)
	table.add(time.Unix(1000, 0), batch, false)
	m := &Message{lease: batch[0], leases: table}
	m.Ack()
	for name, settle := range map[string]func(){
		"Ack": m.Ack, "Nack": m.Nack, "HandBack": func() { m.HandBack(time.Second) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s after Ack did not panic", name)
				}
			}()
			settle()
		}()
	}
	if n := table.unconfirmed(); n != 1 {
		t.Errorf("unconfirmed() = %d, want 1", n)
	}
}

func TestRedeliveriesAreCounted(t *testing.T) {
	table := newLeases(10 * time.Second)
	now := time.Unix(1000, 0)
	table.add(now, testLeases(3), false)
	table.add(now, testLeases(2), false)                                            // still held
	table.add(now, []*lease{{messageID: "x", attempt: 1}}, false)                   // first attempt
	table.add(now, []*lease{{messageID: "y", attempt: 2}, {messageID: "z"}}, false) // second
	if got := table.stats; got.Received != 8 || got.Redelivered != 3 {
		t.Errorf("Received, Redelivered = %d, %d, want 8, 3", got.Received, got.Redelivered)
	}
}

func TestWholeSeconds(t *testing.T) {
	for d, want := range map[time.Duration]int32{
		-time.Second: 0, 0: 0, 1: 1, time.Second: 1, 1500 * time.Millisecond: 2, time.Hour: 600,
	} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("wholeSeconds(%v) = %d, want %d", d, got, want)
		}
	}
}

func BenchmarkLeases(b *testing.B) {
	table := newLeases(10 * time.Second)
	now := time.Unix(1000, 0)
	table.start(now)
	b.ReportAllocs()
	for i := range b.N {
		l := &lease{ackID: "a", messageID: fmt.Sprint(i)}
		table.add(now, []*lease{l}, false)
		table.settle(l, leaseAcking, 0)
		if i%1000 == 999 {
			acks, _ := table.take()
			table.sent(acks, true)
			now = now.Add(200 * time.Millisecond)
			table.extended(table.due(now), now, true)
		}
	}
}
