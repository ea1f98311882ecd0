package queuetest

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"tailweir/queue"
	"tailweir/queue/broker"
)

// A program gets what came of each case, whatever befalls the server, and the objects of all are deleted.
func TestCheck(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	run := []string{"pull", "already-exists", "log-order", "list-and-delete", "not-found"}
	skips := map[string]string{}
	for _, c := range cases {
		if !slices.Contains(run, c.name) {
			skips[c.name] = "not wanted"
		}
	}
	for name, tt := range map[string]struct {
		ctx   context.Context
		fault broker.Fault
		want  map[string]string // the beginnings of the first faults
	}{
		"healthy": {t.Context(), broker.Fault{Method: "Seek"}, map[string]string{}},
		"faulty":  {t.Context(), broker.Fault{Method: "Pull", Code: codes.Internal}, map[string]string{"pull": "pull: rpc error", "not-found": "Pull: code Internal, want NotFound"}},
		"interrupted": {over, broker.Fault{Method: "Seek"}, map[string]string{
			"pull": "create topic:", "already-exists": "create topic:", "log-order": "create topic:", "list-and-delete": "create topic:", "not-found": "create topic:",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, addr := serve(t)
			b.Inject(tt.fault)
			target := Target{Conn: Dial(t, addr), Queue: queue.Config{Project: "other", Endpoint: addr}, Prefix: "mine-", Skips: skips}
			got, seen := map[string]string{}, 0
			Check(tt.ctx, target, 3, func(o Outcome) {
				seen++
				if (o.Skipped != "") != (skips[o.Case] != "") {
					t.Errorf("%s: skipped %q", o.Case, o.Skipped)
				}
				if len(o.Faults) > 0 {
					got[o.Case] = o.Faults[0][:min(len(o.Faults[0]), len(tt.want[o.Case]))]
				}
			})
			if diff := cmp.Diff(tt.want, got); diff != "" || seen != len(cases) {
				t.Errorf("%d outcomes of %d cases; faults (-want +got):\n%s", seen, len(cases), diff)
			}
			if st := b.Stats(); len(st.Topics)+len(st.Subscriptions) > 0 {
				t.Errorf("left behind: %v, %v", st.Topics, st.Subscriptions)
			}
		})
	}
}

// All objects of the suite are in the target's project, under its prefix.
func TestPrefix(t *testing.T) {
	t.Parallel()
	_, addr := serve(t)
	target := Target{Conn: Dial(t, addr), Queue: queue.Config{Project: "other", Endpoint: addr}, Prefix: "mine-"}
	f := newFixture(t, target, suiteCase{name: "a"})
	for kind, name := range map[string]string{"topics": f.topic, "subscriptions": f.subscription, "snapshots": f.snapshotName()} {
		if !strings.HasPrefix(name, "projects/other/"+kind+"/mine-a-") {
			t.Errorf("%s is named %s", kind, name)
		}
	}
}

// A case ends at its first Fatal or panic; its cleanups run all the same, the last first, with the context ended.
func TestTrial(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		run  func(T)
		want []string
	}{
		"passes": {func(T) {}, nil},
		"errors": {func(t T) { t.Error("a ", 1); t.Errorf("b %d", 2) }, []string{"a 1", "b 2"}},
		"fatal":  {func(t T) { t.Fatalf("a %d", 1); t.Error("not reached") }, []string{"a 1"}},
		"panics": {func(T) { panic("oh") }, []string{"panic: oh"}},
		"cleanups": {func(t T) {
			for _, n := range []string{"1", "2"} {
				t.Cleanup(func() { t.Fatal(n, t.Context().Err()) })
			}
		}, []string{"2context canceled", "1context canceled"}},
	} {
		if diff := cmp.Diff(tt.want, check(context.Background(), tt.run)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// serve runs a broker for the length of the test.
func serve(t *testing.T) (b *broker.Server, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b = broker.New(broker.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b, l.Addr().String()
}
