// Package queuetest is one suite for everything that claims to be Pub/Sub: the
// embedded broker, Google's emulator, a real project. It speaks the raw gRPC
// API, so that no client library hides what the server does; but for the cases of
// the log, which try what package queue promises of its log readers on the server.
package queuetest

import (
	"testing"

	"google.golang.org/grpc"

	"tailweir/queue"
)

// Target is a server under test.
type Target struct {
	Name string // for people
	// Conn is to a server of the Publisher and Subscriber services, which takes requests of 32 MB; it is left open.
	Conn *grpc.ClientConn
	// Queue is how the cases of the log connect to the same server, and the project of all objects. The zero value
	// is project queuetest at Conn's target, without TLS.
	Queue queue.Config
	// Prefix begins the names of all topics and subscriptions, and of the snapshots that are given one.
	Prefix string
	// Skips holds the reasons, by case name, why a case does not apply; they are
	// printed. A name that is no case fails the run.
	Skips map[string]string
}

type suiteCase struct {
	name string
	run  func(*fixture)
	// ordered asks for a subscription with message ordering.
	ordered bool
	// alone runs the case before the others, which run in parallel.
	alone bool
}

var cases = []suiteCase{
	{name: "hold-100k", run: hold100k, alone: true},
	{name: "publish-ack", run: publishAck},
	{name: "attributes-and-ids", run: attributesAndIDs},
	{name: "two-subscriptions", run: twoSubscriptions},
	{name: "hold-extended", run: holdExtended},
	{name: "redelivery-expiry", run: redeliveryExpiry},
	{name: "redelivery-dropped-stream", run: redeliveryDroppedStream},
	{name: "nack", run: nack},
	{name: "modack-delay", run: modackDelay},
	{name: "stale-ack", run: staleAck},
	{name: "bogus-ack", run: bogusAck},
	{name: "ping", run: ping},
	{name: "flow-messages", run: flowMessages},
	{name: "flow-bytes", run: flowBytes},
	{name: "flow-after-nack", run: flowAfterNack},
	{name: "unread-stream", run: unreadStream},
	{name: "two-streams-share", run: twoStreamsShare},
	{name: "ordering", run: ordering, ordered: true},
	{name: "ordering-redelivery", run: orderingRedelivery, ordered: true},
	{name: "ordering-affinity", run: orderingAffinity, ordered: true},
	{name: "dead-letter", run: deadLetter},
	{name: "dead-letter-gone", run: deadLetterGone},
	{name: "retry-policy", run: retryPolicy},
	{name: "filter", run: filter},
	{name: "filter-errors", run: filterErrors},
	{name: "policy-bounds", run: policyBounds},
	{name: "update-subscription", run: updateSubscription},
	{name: "update-topic", run: updateTopic},
	{name: "seek-time", run: seekTime},
	{name: "seek-future", run: seekFuture},
	{name: "seek-ordering", run: seekOrdering, ordered: true},
	{name: "seek-snapshot", run: seekSnapshot},
	{name: "snapshots", run: snapshots},
	{name: "snapshot-labels", run: labelSnapshot},
	{name: "topic-retention", run: topicRetention},
	{name: "detach", run: detach},
	{name: "pull", run: pull},
	{name: "pull-waits", run: pullWaits},
	{name: "publish-limits", run: publishLimits},
	{name: "not-found", run: notFound},
	{name: "already-exists", run: alreadyExists},
	{name: "list-and-delete", run: listAndDelete},
	{name: "log-order", run: logOrder},
	{name: "log-latency", run: logLatency},
	{name: "log-seek", run: logSeek},
	{name: "log-replay", run: logReplay},
	{name: "log-begins-now", run: logBeginsNow},
	{name: "log-run-again", run: logRunAgain},
	{name: "log-deleted", run: logDeleted},
	{name: "log-subscriptions", run: logSubscriptions},
	{name: "log-refused", run: logRefused},
	{name: "log-publish-refused", run: logPublishRefused},
}

// Run runs the suite, each case as a subtest with a topic and a subscription of its own.
func Run(t *testing.T, target Target) {
	checkSkips(t, target)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if reason := target.Skips[c.name]; reason != "" {
				t.Skipf("%s: %s", target.Name, reason)
			}
			if !c.alone {
				t.Parallel()
			}
			c.run(newFixture(t, target, c))
		})
	}
}

func checkSkips(t *testing.T, target Target) {
	t.Helper()
	known := make(map[string]bool)
	for _, c := range cases {
		known[c.name] = true
	}
	for name := range target.Skips {
		if !known[name] {
			t.Errorf("%s: skips %q, which is no case", target.Name, name)
		}
	}
}
