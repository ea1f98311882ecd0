package exporter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/otlp"
)

// outcome is an exporter that takes a while and ends as told.
type outcome struct {
	name  string
	after time.Duration
	err   error
	calls *atomic.Int32
}

func (o outcome) Name() string { return o.name }
func (o outcome) Export(ctx context.Context, _ *Batch) error {
	o.calls.Add(1)
	if !sleep(ctx, o.after) {
		return ctx.Err()
	}
	return o.err
}

func TestAllOutcomes(t *testing.T) {
	ok := error(nil)
	busy := errors.New("busy")
	refused := func(parts ...int) error {
		var all []Refusal
		for _, p := range parts {
			all = append(all, Refusal{Part: p, Err: errors.New("refused")})
		}
		return &PermanentError{Err: errors.New("refused"), Refused: all}
	}
	items := func(part int, items ...int) error {
		return &PermanentError{Err: errors.New("refused"), Refused: []Refusal{{Part: part, Items: items, Err: errors.New("refused")}}}
	}
	partial := func(n int) error { return &PartialError{Rejected: n, Msg: fmt.Sprint("old ", n)} }
	tests := []struct {
		name     string
		errs     []error
		class    string
		parts    []int
		rejected int
	}{
		{"none", nil, "ok", nil, 0},
		{"all confirm", []error{ok, ok}, "ok", nil, 0},
		{"one is busy", []error{ok, busy}, "transient", nil, 0},
		{"busy beats refused", []error{refused(), busy}, "transient", nil, 0},
		{"busy beats partial", []error{partial(1), busy}, "transient", nil, 0},
		{"one refused", []error{refused(), ok}, "permanent", nil, 0},
		{"both refused", []error{refused(0), refused(2)}, "permanent", []int{0, 2}, 0},
		{"all parts between them", []error{refused(0, 1), refused(1, 2)}, "permanent", []int{0, 1, 2}, 0},
		{"some and all", []error{refused(0), refused()}, "permanent", nil, 0},
		{"refused and partial", []error{refused(1), partial(3)}, "permanent", []int{1}, 3},
		{"items of one part", []error{items(1, 0, 2), items(1, 2, 3)}, "permanent", []int{1, 0, 2, 3}, 0},
		{"items that make up a part", []error{items(1, 0, 2), items(1, 1, 3)}, "permanent", []int{1}, 0},
		{"items and their part", []error{items(1, 0), refused(1)}, "permanent", []int{1}, 0},
		{"partial", []error{ok, partial(3)}, "partial", nil, 3},
		{"two partial", []error{partial(2), partial(3)}, "partial", nil, 3},
		{"one of both kinds", []error{errors.Join(refused(1), partial(2)), ok}, "permanent", []int{1}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var calls atomic.Int32
			var list []Exporter
			for i, err := range tt.errs {
				list = append(list, outcome{name: fmt.Sprint("e", i), err: err, calls: &calls})
			}
			err := All(list...).Export(t.Context(), traceBatch(t, 4, 1, 2, 3))
			var pe *PermanentError
			var some *PartialError
			class := "ok"
			switch {
			case errors.As(err, &pe):
				class = "permanent"
			case errors.As(err, &some):
				class = "partial"
			case err != nil:
				class = "transient"
			}
			if class != tt.class {
				t.Fatalf("%v is %s, want %s", err, class, tt.class)
			}
			if pe != nil {
				var parts []int // each with its items after it
				for _, r := range pe.Refused {
					parts = append(append(parts, r.Part), r.Items...)
				}
				if diff := cmp.Diff(tt.parts, parts); diff != "" {
					t.Errorf("parts (-want +got):\n%s", diff)
				}
				if !strings.Contains(err.Error(), "e0") && !strings.Contains(err.Error(), "e1") {
					t.Errorf("%q does not name the exporter", err)
				}
			}
			if errors.As(err, &some); some == nil && tt.rejected > 0 || some != nil && some.Rejected != tt.rejected {
				t.Errorf("rejected %+v, want %d", some, tt.rejected)
			}
			if int(calls.Load()) != len(tt.errs) {
				t.Errorf("%d calls, want one for each of %d", calls.Load(), len(tt.errs))
			}
		})
	}
}

func TestAllRunsInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		m := All(outcome{"a", 3 * time.Second, nil, &calls}, outcome{"b", 5 * time.Second, nil, &calls})
		start := time.Now()
		if err := m.Export(t.Context(), traceBatch(t, 1, 1)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 5*time.Second || calls.Load() != 2 {
			t.Errorf("%s and %d calls, want the slowest's 5s and 2", d, calls.Load())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if err := m.Export(ctx, traceBatch(t, 1, 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err %v, want the slow one's", err)
		}
		if m.Name() != "a+b" {
			t.Errorf("name %q", m.Name())
		}
	})
}

func TestOnly(t *testing.T) {
	down := errors.New("down")
	for _, tt := range []struct {
		signals []otlp.Signal
		batch   *Batch
		want    error
	}{
		{[]otlp.Signal{otlp.Traces}, traceBatch(t, 1, 1), down},
		{[]otlp.Signal{otlp.Logs}, traceBatch(t, 1, 1), nil},
		{[]otlp.Signal{otlp.Traces, otlp.Logs}, traceBatch(t, 1, 1), down},
		{[]otlp.Signal{otlp.Traces}, &Batch{Signal: otlp.Logs}, nil},
	} {
		var calls atomic.Int32
		x := Only(outcome{"a", 0, down, &calls}, tt.signals...)
		if err := x.Export(t.Context(), tt.batch); !errors.Is(err, tt.want) || (calls.Load() == 1) != (tt.want != nil) {
			t.Errorf("%v for %v: %v after %d calls, want %v", tt.batch.Signal, tt.signals, err, calls.Load(), tt.want)
		}
		if x.Name() != "a" {
			t.Errorf("name %q", x.Name())
		}
	}
}
