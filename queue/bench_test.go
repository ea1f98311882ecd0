package queue

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// cpu is what the process has used so far; client and broker share it.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report adds CPU per message of client and broker together, and messages per second.
func report(b *testing.B, before time.Duration, start time.Time) {
	b.ReportMetric(float64(cpu()-before)/float64(b.N)/1e3, "cpu-µs/msg")
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "msg/s")
}

// A payload of 39 spans is 21 kB.
const payloadSize = 21_000

func BenchmarkPublish(b *testing.B) {
	c := startServer(b).open()
	if err := c.CreateTopic(context.Background(), "nobody"); err != nil {
		b.Fatal(err)
	}
	p := c.Publisher("nobody", PublisherConfig{}) // without a subscription nothing is kept
	defer p.Close()
	data := bytes.Repeat([]byte{'x'}, payloadSize)
	b.SetBytes(payloadSize)
	b.ReportAllocs()
	start, before := time.Now(), cpu()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 256 {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := p.Publish(context.Background(), data, nil); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	report(b, before, start)
}

func BenchmarkReceive(b *testing.B) {
	c := startServer(b).open()
	publish(b, c, b.N, payloadSize)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sub := c.Subscriber("work", SubscriberConfig{})
	result := make(chan error, 1)
	b.SetBytes(payloadSize)
	b.ReportAllocs()
	b.ResetTimer()
	start, before := time.Now(), cpu()
	var n atomic.Int64
	go func() {
		result <- sub.Run(ctx, func(m *Message) {
			m.Ack()
			if n.Add(1) == int64(b.N) {
				cancel()
			}
		})
	}()
	if err := <-result; err != nil {
		b.Fatal(err)
	}
	report(b, before, start)
}
