package queue

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPublishArrivesAsItWas(t *testing.T) {
	t.Parallel()
	c := startServer(t).open()
	p := c.Publisher("spans", PublisherConfig{})
	defer p.Close()
	r := subscribe(t, c, SubscriberConfig{}, 10)
	attrs := map[string]string{"ce-type": "x", "content-encoding": "gzip"}
	data := bytes.Repeat([]byte{0, 255, 7}, 3_000_000) // 9 MB, near the service's limit
	before := time.Now().Add(-time.Second)
	if err := p.Publish(context.Background(), data, attrs); err != nil {
		t.Fatal(err)
	}
	m := r.take(1, 10*time.Second)[0]
	if !bytes.Equal(m.Data, data) {
		t.Errorf("data of %d bytes differs from the %d published", len(m.Data), len(data))
	}
	if diff := cmp.Diff(attrs, m.Attributes); diff != "" {
		t.Errorf("attributes (-published +received):\n%s", diff)
	}
	if m.ID == "" || m.PublishTime.Before(before) || m.PublishTime.After(time.Now().Add(time.Second)) {
		t.Errorf("id %q, publish time %v", m.ID, m.PublishTime)
	}
	m.Ack()
	r.stop()
}

func TestPublishErrorComesByTheDeadline(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		timeout time.Duration // of the publisher
		ctx     time.Duration
	}{
		{"of the context", 8 * time.Second, 300 * time.Millisecond},
		{"of the publisher", 300 * time.Millisecond, time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := startServer(t)
			c := s.open()
			p := c.Publisher("spans", PublisherConfig{Timeout: test.timeout})
			s.stop()
			ctx, cancel := context.WithTimeout(context.Background(), test.ctx)
			defer cancel()
			start := time.Now()
			err := p.Publish(ctx, []byte("x"), nil)
			if err == nil || !strings.Contains(err.Error(), "projects/p/topics/spans") {
				t.Errorf("Publish = %v, want an error that names the topic", err)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("Publish took %v, want about 300 ms", took)
			}
		})
	}
}

// A full publisher waits for room no longer than the deadline.
func TestPublishIsBounded(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.open()
	p := c.Publisher("spans", PublisherConfig{OutstandingMessages: 1})
	s.stop()
	results := make(chan error, 3)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	for range 3 {
		go func() { results <- p.Publish(ctx, []byte("x"), nil) }()
	}
	for range 3 {
		select {
		case err := <-results:
			if err == nil {
				t.Error("Publish without a server returned nil")
			}
		case <-time.After(5 * time.Second):
			t.Fatal("Publish did not return by its deadline")
		}
	}
}

// A short outage within the timeout costs time, not the message.
func TestPublishOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.open()
	p := c.Publisher("spans", PublisherConfig{})
	defer p.Close()
	s.stop()
	result := make(chan error, 1)
	go func() { result <- p.Publish(context.Background(), []byte("x"), nil) }()
	time.Sleep(500 * time.Millisecond)
	s.start()
	if err := <-result; err != nil {
		t.Errorf("Publish over an outage of 500 ms: %v", err)
	}
}

func TestPublishToMissingTopicFailsAtOnce(t *testing.T) {
	t.Parallel()
	p := startServer(t).open().Publisher("missing", PublisherConfig{})
	defer p.Close()
	start := time.Now()
	if err := p.Publish(context.Background(), []byte("x"), nil); err == nil {
		t.Error("Publish to a missing topic returned nil")
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("Publish took %v", took)
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want []string // "" none
	}{
		{"client", Config{}.Validate(), []string{"project"}},
		{"publisher defaults", PublisherConfig{}.Validate(), nil},
		{"publisher", PublisherConfig{BatchMessages: 1001, Timeout: -1}.Validate(), []string{"batch messages is 1001", "timeout is -1ns"}},
		{"subscriber defaults", SubscriberConfig{}.Validate(), nil},
		{"subscriber", SubscriberConfig{Lease: time.Second, MaxBytes: -1}.Validate(), []string{"lease is 1s, want 10s to 10m0s", "bytes is -1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if (test.err == nil) != (len(test.want) == 0) {
				t.Fatalf("Validate() = %v", test.err)
			}
			for _, want := range test.want {
				if !strings.Contains(test.err.Error(), want) {
					t.Errorf("Validate() = %q, want %q in it", test.err, want)
				}
			}
		})
	}
}
