package exporter

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/otlp"
)

// cycle is a sender that fails in turn by faults, of which nil is a success, for ever. Logs fail always if noLogs.
type cycle struct {
	mu     sync.Mutex
	faults []*Fault
	next   int
	noLogs bool
}

func (c *cycle) encode(b []byte) ([]byte, error) { return b, nil }
func (c *cycle) close() error                    { return nil }
func (*cycle) endpoint(otlp.Signal) string       { return "e" }
func (c *cycle) attempt(_ context.Context, signal otlp.Signal, _ []byte) (*PartialError, *Fault) {
	if signal == otlp.Logs && c.noLogs {
		return nil, &Fault{Endpoint: "e", Code: "404", Verdict: NoEndpoint}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults) == 0 {
		return nil, nil
	}
	f := c.faults[c.next%len(c.faults)]
	c.next++
	return nil, f
}

// logOf exports the batches over and over, each by itself, for 10 minutes, and returns what was logged.
func logOf(t *testing.T, s sender, batches ...*Batch) string {
	t.Helper()
	var out bytes.Buffer
	o := newOTLP(OTLPConfig{Logger: slog.New(slog.NewTextHandler(&out, nil))}.withDefaults(), s)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for _, b := range batches {
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = o.Export(ctx, b)
				sleep(ctx, time.Second)
			}
		})
	}
	wg.Wait()
	return out.String()
}

// What somebody has to mend is an error with what to do, about once a minute however many batches wait; the rest is
// one warning for each outage.
func TestOutageInTheLog(t *testing.T) {
	key := &Fault{Endpoint: "e", Code: "401", Verdict: NoAccess}
	path := &Fault{Endpoint: "e", Code: "404", Verdict: NoEndpoint}
	full := &Fault{Endpoint: "e", Code: "503", Verdict: Busy}
	three := []*Batch{traceBatch(t, 1, 1), traceBatch(t, 1, 2), traceBatch(t, 1, 3)}
	tests := []struct {
		name    string
		sender  *cycle
		batches []*Batch
		warns   int
		errors  bool // about ten
		want    string
		works   bool // "export works again" is logged
	}{
		{"a revoked key", &cycle{faults: []*Fault{key}}, three, 0, true, "check the exporter's credentials or headers", false},
		{"a wrong path", &cycle{faults: []*Fault{path}}, three, 0, true, "check the exporter's endpoint, its path", false},
		{"a key that works every other time", &cycle{faults: []*Fault{key, nil}}, three, 0, true, "credentials", true},
		{"busy", &cycle{faults: []*Fault{full}}, three, 1, false, "error=\"e: 503\"", false},
		{"busy, then a revoked key", &cycle{faults: []*Fault{full, key}}, three, 1, true, "credentials", false},
		{"traces are taken, logs are not", &cycle{noLogs: true}, append(three, logBatch(t, 1, "a")), 0, true, "signal=logs", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := logOf(t, tt.sender, tt.batches...)
				errors := strings.Count(got, "level=ERROR")
				if least, most := 6, 11; tt.errors && (errors < least || errors > most) || !tt.errors && errors != 0 {
					t.Errorf("%d errors in 10 minutes", errors)
				}
				if warns := strings.Count(got, "level=WARN"); warns != tt.warns {
					t.Errorf("%d warnings, want %d", warns, tt.warns)
				}
				if !strings.Contains(got, tt.want) || strings.Contains(got, "works again") != tt.works {
					t.Errorf("want %q, and works again %t", tt.want, tt.works)
				}
				if t.Failed() {
					t.Log(got)
				}
			})
		})
	}
}
