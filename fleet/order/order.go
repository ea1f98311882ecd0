// Package order is the fleet's log: the messages that workers publish under one ordering key, and the state that follows
// from them. It is pure: no I/O, no clock, no goroutines. Every time that it knows is handed to it.
//
// Workers must agree on who leads and on what the leader said, although the topic does not show all of them one order:
// measured on Google's emulator, entries of different publishers change places between subscriptions when their publish
// times are a few milliseconds apart. "The first valid entry in the log" is then a different entry for different workers.
// So the state is a function of the SET of messages and of their server publish times P. Three things are assumed: one
// publisher's sequential publishes arrive in order, at least once (A); messages whose P are more than δ apart arrive in that
// order everywhere (B); P is one clock, good to ±100 ms (C). The rules, by their numbers:
//
//  1. Only the set counts. Probes and messages of unknown kinds change nothing.
//  2. The winner of a term is its Claim c. Its leader numbers its entries from 1. A copy of entry 1, the Open, is acceptable
//     when open < P − P(c) ≤ G; a copy of entry n when P ≤ time(n−1) + G. time(n) is the least P of the acceptable copies.
//     Entry n is accepted when n−1 is and an acceptable copy was read. Nothing follows a resign. Accepted stays accepted.
//  3. A term ends D after the time of its last accepted entry, or open after it when that is a resign.
//  4. A claim is valid when its P is at or after the end of the current term. Of those valid after the same term the least
//     (P, worker) wins; one read later replaces the winner until the winner's Open is accepted. Others never count.
//  5. Accepted entries apply in the order (term, number), for the leader itself too.
//  6. Members and policy are those last accepted; a new winner's predecessor leaves the members.
//  7. A joiner reads from T0 on and keeps everything unapplied until it has an anchor: a leader's certificate of an entry
//     that it has read (7a), or a claim that nothing else can compete with and its Open (7b).
//  8. What A and B forbid is an Anomaly when it is seen: the replica must be dropped and the log read again.
//  9. A worker claims after D of silence (Candidate).
//  10. A leader steps down for good when it is slow or replaced (Leader).
//
// Why this agrees: when a valid claim at P ≥ end was read, an entry of the old term that is still unread has P > end − δ,
// which is beyond its last entry + G, since D − G > δ: it is void for everybody (2). When an Open was read, P > P(c) + open,
// every claim that competes with c was read before it, since open > δ. A copy that is still unread is at most δ earlier than
// anything read, and G > δ: by making its entry's time earlier it makes nothing void that was accepted.
package order

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"time"
)

// Config holds the rules' constants. All workers of a fleet must have the same.
type Config struct {
	Death time.Duration // D: silence after which a term has ended; default 12 s. Also at least the ack deadline + 2 s
	Gap   time.Duration // G: the longest distance between two entries of a term; default 6 s
	Open  time.Duration // what an Open must wait after its claim, and a claim after a resign; default 2 s
	Delta time.Duration // δ: messages further apart arrive in order everywhere; default 1 s
}

// Defaults returns c with every zero field set to its default.
func (c Config) Defaults() Config {
	c.Death = cmp.Or(c.Death, 12*time.Second)
	c.Gap = cmp.Or(c.Gap, 6*time.Second)
	c.Open = cmp.Or(c.Open, 2*time.Second)
	c.Delta = cmp.Or(c.Delta, time.Second)
	return c
}

// Validate reports every impossible setting of a Config that has its defaults, one line each.
func (c Config) Validate() []string {
	var faults []string
	say := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	say(c.Delta < time.Millisecond, "delta (%s) must be at least 1ms", c.Delta)
	say(c.Death-c.Gap <= c.Delta+time.Second, "death (%s) must be more than gap (%s) + delta (%s) + 1s: an entry and a claim that ends its term could both count", c.Death, c.Gap, c.Delta)
	say(c.Open <= c.Delta+500*time.Millisecond, "open (%s) must be more than delta (%s) + 500ms: a smaller claim could be read after an open", c.Open, c.Delta)
	say(c.Gap <= c.Open+2*time.Second, "gap (%s) must be more than open (%s) + 2s: an open that is sent again would come too late", c.Gap, c.Open)
	return faults
}

// limits is a Config in the unit of publish times.
type limits struct{ death, gap, open, delta int64 }

func (c Config) limits() limits {
	c = c.Defaults()
	return limits{c.Death.Milliseconds(), c.Gap.Milliseconds(), c.Open.Milliseconds(), c.Delta.Milliseconds()}
}

// never is a publish time after all others.
const never = math.MaxInt64

// Term is a claim that has won, and the name of the time in which its worker leads.
type Term struct {
	ID     ID
	Worker Worker
	Claim  int64 // publish time of the claim
}

// before is the order in which claims win. The id makes it total: two processes that took the same random number for
// Worker are still told apart.
func (t Term) before(u Term) bool {
	return cmp.Or(cmp.Compare(t.Claim, u.Claim), cmp.Compare(t.Worker, u.Worker), bytes.Compare(t.ID[:], u.ID[:])) < 0
}
