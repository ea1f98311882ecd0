package pipeline

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/exporter"
	"tailweir/otlp"
)

// A record is told from all others by its source and its place in there: by each class of each message anew, the same on every
// worker, whatever it leaves with.
func TestSourcesOfRecords(t *testing.T) {
	payloads := [][]byte{
		records("shop", record{1, info, "", "a"}, record{1, warn, "", "b"}, record{1, info, "", "c"}, record{2, warn, "", "d"}),
		records("shop", record{1, info, "", "a"}, record{1, warn, "", "e"}),
	}
	sources := func(together bool) map[exporter.Source]int {
		seen := map[exporter.Source]int{}
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(c *Config) {
				c.LogRules = []LogRule{{MinSeverity: 13, Keep: LogsAtOnce}}
				c.LogsKeep = LogsAll
			})
			for _, p := range payloads {
				r.deliver(otlp.Logs, p)
				if !together {
					r.sleep(time.Second)
				}
			}
			r.deliver(otlp.Traces, traces(span{trace: 1, id: 1, root: true, bad: true}))
			r.sleep(time.Minute)
			for _, p := range r.backend.parts {
				items := 0
				for _, s := range p.Sources {
					seen[s]++
					items += s.Items
				}
				if want := p.Items; items != want && p.Sources != nil {
					t.Errorf("sources of %d records in a part of %d", items, want)
				}
			}
			r.stop()
		})
		return seen
	}
	once := sources(true)
	if again := sources(false); !maps.Equal(once, again) {
		t.Errorf("alone: %v, together: %v", again, once)
	}
	if !slices.Equal(slices.Sorted(maps.Values(once)), []int{1, 1, 1, 2}) { // a and c; a; e; b and d, of two traces
		t.Errorf("%v, want one for each class of each message and trace", once)
	}
}
