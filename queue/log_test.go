package queue

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tailweir/queue/broker"
)

// What readers do on a healthy server is in package queuetest.

// An error is the caller's to judge: nothing is sent twice on its behalf.
func TestOrderedPublisherSendsOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		fault  broker.Fault
		code   codes.Code
		stored uint64
	}{
		{"refused", broker.Fault{Code: codes.Unavailable}, codes.Unavailable, 0},
		{"answer lost", broker.Fault{Code: codes.Internal, After: true}, codes.Internal, 1},
		{"too late", broker.Fault{Delay: time.Minute}, codes.DeadlineExceeded, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			p := s.open().OrderedPublisher("spans", "k")
			test.fault.Method, test.fault.Count = "Publish", 1
			s.broker.Inject(test.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := p.Publish(ctx, []byte("a")); status.Code(err) != test.code {
				t.Errorf("Publish = %v, want code %v", err, test.code)
			}
			if stored := s.broker.Stats().Published; stored != test.stored {
				t.Errorf("%d messages stored after an error, want %d", stored, test.stored)
			}
			if err := p.Publish(t.Context(), []byte("b")); err != nil {
				t.Errorf("Publish after an error: %v", err)
			}
		})
	}
}

func TestOrderedPublisherWithoutServer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := s.open().OrderedPublisher("spans", "k")
	s.stop()
	start := time.Now()
	if err := p.Publish(t.Context(), []byte("x")); status.Code(err) != codes.Unavailable {
		t.Errorf("Publish without a server = %v, want code Unavailable", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Publish without a server took %v, want an error at once", took)
	}
}

// A log reader goes on where it was when the server comes back.
func TestLogOutlivesTheServer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.open()
	r, err := c.SubscribeLog(t.Context(), LogConfig{Topic: "spans", Subscription: "log", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	read, ended := make(chan string, 10), make(chan error, 1)
	go func() { ended <- r.Run(ctx, func(data []byte, _ time.Time) { read <- string(data) }) }()
	p := c.OrderedPublisher("spans", "k")
	var got []string
	for i := range 3 {
		waitFor(t, "a publish", func() bool { return p.Publish(t.Context(), fmt.Append(nil, i)) == nil })
		got = append(got, <-read)
		s.stop()
		s.start()
	}
	if diff := cmp.Diff([]string{"0", "1", "2"}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	s.stop()
	cancel() // acks may be lost with the server away: the run ends well all the same
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run = %v after the end of its context, want nil", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Run did not end with its context while the server was away")
	}
}

func TestCreateRetainingTopic(t *testing.T) {
	t.Parallel()
	c := startServer(t).open()
	for _, test := range []struct {
		retention time.Duration
		want      codes.Code
	}{
		{10*time.Minute - 1, codes.InvalidArgument},
		{10 * time.Minute, codes.OK},
		{31 * 24 * time.Hour, codes.OK},
		{31*24*time.Hour + 1, codes.InvalidArgument},
	} {
		if err := c.CreateRetainingTopic(t.Context(), fmt.Sprint("log-", int64(test.retention)), test.retention); status.Code(err) != test.want {
			t.Errorf("topic with a retention of %v: %v, want code %v", test.retention, err, test.want)
		}
	}
}
