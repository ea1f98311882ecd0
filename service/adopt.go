package service

import (
	"fmt"
	"strings"
	"time"

	"tailweir/sampler"
)

// mostHistory is the bound of window.history.
const mostHistory = 100_000_000

// Adopt has the window follow the options of the collector's tail_sampling block, but for the keys that are given by
// themselves. It returns what it did, in lines; prefix stands before the keys in them.
//
// The collector decides a trace decision_wait after its first span: as max_age, and as idle and settle, which cannot come
// later then. With decision_wait_after_root_received that is settle. The order settle <= idle <= max_age <= max_hold stays:
// what is given bounds what follows from the options, and that bounds what is left of the defaults.
func (w *WindowConfig) Adopt(o sampler.Options, prefix string, given func(key string) bool) (lines []string) {
	a := adoption{prefix: prefix, given: given}
	a.times(w, o)
	a.number("num_traces", "max_traces", o.Traces, &w.MaxTraces)
	a.number("decision_cache", "history", min(o.Remembered, mostHistory), &w.History)
	if len(a.set) > 0 {
		lines = append(lines, "the window follows: "+strings.Join(a.set, ", "))
	}
	return append(lines, a.kept...)
}

type adoption struct {
	prefix    string
	given     func(key string) bool
	set, kept []string
}

// step is one of the window's times. The later a pass fixes it, the more it yields to the others.
type step struct {
	key   string
	value *time.Duration
	from  string        // the option that it follows
	wants time.Duration // what that says; 0: nothing
	fixed bool
}

func (a *adoption) times(w *WindowConfig, o sampler.Options) {
	steps := []step{
		{key: "settle", value: &w.Settle, from: "decision_wait", wants: o.Wait},
		{key: "idle", value: &w.Idle, from: "decision_wait", wants: o.Wait},
		{key: "max_age", value: &w.MaxAge, from: "decision_wait", wants: o.Wait},
		{key: "max_hold", value: &w.MaxHold},
	}
	if root := o.WaitAfterRoot; root != 0 && (o.Wait == 0 || root < o.Wait) {
		steps[0].from, steps[0].wants = "decision_wait_after_root_received", root
	}
	if o.Wait == 0 && o.WaitAfterRoot == 0 {
		return
	}
	for i := range steps {
		s := &steps[i]
		if s.fixed = a.given(s.key) && (s.key != "max_hold" || *s.value != 0); s.fixed && s.wants != 0 && s.wants != *s.value {
			a.keep(s.from, s.wants, s.key, *s.value)
		}
	}
	a.fix(steps, func(s *step) bool { return s.wants != 0 })
	a.fix(steps[:3], func(*step) bool { return true }) // max_hold follows max_age by itself where it is 0
}

// fix sets those steps that are not fixed and that which takes, between the nearest fixed ones.
func (a *adoption) fix(steps []step, which func(*step) bool) {
	for i := range steps {
		s := &steps[i]
		if s.fixed || !which(s) {
			continue
		}
		want := s.wants
		if want == 0 {
			want = *s.value
		}
		for j := len(steps) - 1; j > i; j-- {
			if steps[j].fixed {
				want = min(want, *steps[j].value)
			}
		}
		for j := range i {
			if steps[j].fixed {
				want = max(want, *steps[j].value)
			}
		}
		if s.wants != 0 || want != *s.value {
			a.set = append(a.set, fmt.Sprintf("%s%s = %s", a.prefix, s.key, want))
		}
		*s.value, s.fixed = want, true
	}
}

func (a *adoption) number(from, key string, wants int, value *int) {
	switch {
	case wants == 0:
	case !a.given(key):
		*value = wants
		a.set = append(a.set, fmt.Sprintf("%s%s = %d", a.prefix, key, wants))
	case *value != wants:
		a.keep(from, wants, key, *value)
	}
}

func (a *adoption) keep(from string, wants any, key string, value any) {
	a.kept = append(a.kept, fmt.Sprintf("%s %v does not count: %s%s is %v", from, wants, a.prefix, key, value))
}
