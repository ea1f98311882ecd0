package exporter

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"tailweir/otlp"
)

// onLog is a logger that calls f at each record.
func onLog(f func()) *slog.Logger { return slog.New(callHandler{f}) }

type callHandler struct{ f func() }

func (callHandler) Enabled(context.Context, slog.Level) bool    { return true }
func (h callHandler) Handle(context.Context, slog.Record) error { h.f(); return nil }
func (h callHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h callHandler) WithGroup(string) slog.Handler             { return h }

// scripted is a sender without sockets: it answers by the script and notes when it was called.
type scripted struct {
	faults []*Fault
	start  time.Time
	at     []time.Duration
}

func (s *scripted) encode(b []byte) ([]byte, error) { return b, nil }
func (s *scripted) close() error                    { return nil }
func (*scripted) endpoint(otlp.Signal) string       { return "e" }
func (s *scripted) attempt(context.Context, otlp.Signal, []byte) (*PartialError, *Fault) {
	s.at = append(s.at, time.Since(s.start))
	if len(s.faults) == 0 {
		return nil, nil
	}
	f := s.faults[0]
	s.faults = s.faults[1:]
	return nil, f
}

func TestRetryWaits(t *testing.T) {
	busy := func(wait time.Duration) *Fault {
		return &Fault{Endpoint: "e", Code: "busy", Verdict: Busy, Wait: wait}
	}
	tests := []struct {
		name     string
		faults   []*Fault
		min, max []time.Duration // of each wait
	}{
		{"doubles up to the maximum, spread by half",
			[]*Fault{busy(0), busy(0), busy(0), busy(0), busy(0), busy(0), busy(0)},
			[]time.Duration{500e6, 1e9, 2e9, 4e9, 8e9, 15e9, 15e9},
			[]time.Duration{1500e6, 3e9, 6e9, 12e9, 24e9, 45e9, 45e9}},
		{"what the backend asks is a floor", []*Fault{busy(20 * time.Second), busy(0)},
			[]time.Duration{20e9, 1e9}, []time.Duration{20375e6, 3e9}},
		{"a short wish does not shorten the backoff", []*Fault{busy(time.Millisecond)}, []time.Duration{500e6}, []time.Duration{1500e6}},
		{"an absurd wish is capped", []*Fault{busy(48 * time.Hour)}, []time.Duration{maxWait}, []time.Duration{maxWait + 375*time.Millisecond}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scripted{faults: tt.faults, start: time.Now()}
				o := newOTLP(OTLPConfig{Logger: silent}.withDefaults(), s)
				if err := o.Export(t.Context(), traceBatch(t, 1, 1)); err != nil {
					t.Fatal(err)
				}
				if len(s.at) != len(tt.min)+1 {
					t.Fatalf("%d attempts, want %d", len(s.at), len(tt.min)+1)
				}
				for i := range tt.min {
					if wait := s.at[i+1] - s.at[i]; wait < tt.min[i] || wait > tt.max[i]+time.Nanosecond {
						t.Errorf("wait %d is %s, want %s to %s", i, wait, tt.min[i], tt.max[i])
					}
				}
			})
		})
	}
}

func TestRetryEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{start: time.Now()}
		for range 1000 {
			s.faults = append(s.faults, &Fault{Endpoint: "e", Code: "busy", Verdict: Busy})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		err := newOTLP(OTLPConfig{Logger: silent}.withDefaults(), s).Export(ctx, traceBatch(t, 1, 1))
		var pe *PermanentError
		if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &pe) {
			t.Errorf("err %v, want a transient one that says why it ended", err)
		}
		if got := time.Since(s.start); got != 10*time.Minute {
			t.Errorf("gave up after %s, want 10m", got)
		}
		if n := len(s.at); n < 14 || n > 45 {
			t.Errorf("%d attempts in 10 minutes, want about 24", n)
		}
	})
}

func TestOutageIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := &Fault{Endpoint: "e", Code: "busy", Verdict: Busy}
		s := &scripted{start: time.Now(), faults: []*Fault{busy, busy, busy, busy}}
		lines := 0
		o := newOTLP(OTLPConfig{Logger: onLog(func() { lines++ })}.withDefaults(), s)
		for range 3 {
			if err := o.Export(t.Context(), traceBatch(t, 1, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if lines != 2 {
			t.Errorf("%d log lines, want one for the outage and one for its end", lines)
		}
	})
}

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "1.5": 0, "soon": 0, "99999999999": 0,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):       0,
	}
	for value, want := range tests {
		if got := retryAfter(value, now); got != want {
			t.Errorf("Retry-After %q: %s, want %s", value, got, want)
		}
	}
}

// The backend's wish must reach the retry from both protocols.
func TestBackendsWish(t *testing.T) {
	for code, want := range map[int]Verdict{429: Quota, 503: Busy} {
		res := &http.Response{StatusCode: code, Header: http.Header{"Retry-After": {"7"}}}
		if f := statusFault(&url.URL{Scheme: "http", Host: "h"}, res, "", nil); f.Wait != 7*time.Second || f.Verdict != want {
			t.Errorf("HTTP %d: %+v, want a wait of 7s", code, f)
		}
	}
	for code, want := range map[codes.Code]Verdict{codes.Unavailable: Busy, codes.ResourceExhausted: Quota} {
		st, err := status.New(code, "").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(9 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if f := StatusFault("grpc://h", st.Err(), CodeVerdict); f.Wait != 9*time.Second || f.Verdict != want {
			t.Errorf("%s: %+v, want a wait of 9s", code, f)
		}
	}
}
