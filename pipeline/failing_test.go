package pipeline

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/otlp"
	"tailweir/sampler"
)

// Conditions that fail are counted for each policy, and each policy says so once a minute: a drop policy even where its
// error_mode is silent, a keep policy not.
func TestFailingConditionsAreLoud(t *testing.T) {
	const fails = "type: ottl_condition, ottl_condition: {error_mode: silent, span: ['ParseJSON(name)[\"x\"] == 1']}"
	synctest.Test(t, func(t *testing.T) {
		set, err := sampler.Parse("policies", []byte("policies:\n"+
			"- {name: quiet, "+strings.ReplaceAll(fails, "x", "y")+"}\n"+
			"- {name: ignoring, "+strings.ReplaceAll(fails, "silent", "ignore")+"}\n"+
			"- {name: dropping, type: drop, drop: {drop_sub_policy: [{"+strings.ReplaceAll(fails, "x", "z")+"}]}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		r := newRig(t, func(c *Config) {
			c.Policies = set
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
			c.Sequencer = &listening{}
		})
		defer r.stop()
		said := func() int { return strings.Count(log.String(), "condition fails") }
		for i := range byte(10) {
			r.deliver(otlp.Traces, traces(span{trace: i + 1, id: 1}, span{trace: i + 1, id: 2}))
		}
		r.want("failures", r.p.State().Failing, map[string]int64{"ignoring": 20, "dropping": 20})
		r.want("warnings", said(), 2)
		if text := log.String(); !strings.Contains(text, "does not drop what it cannot read\" policy=dropping") || !strings.Contains(text, "ParseJSON") {
			t.Errorf("the log does not say what fails, and that nothing is dropped:\n%s", text)
		}
		r.sleep(sayFailureEvery - time.Second)
		r.deliver(otlp.Traces, traces(span{trace: 20, id: 1}))
		r.want("warnings within a minute", said(), 2)
		r.sleep(2 * time.Second)
		r.deliver(otlp.Traces, traces(span{trace: 21, id: 1}))
		r.want("warnings after a minute", said(), 4)
		if !strings.Contains(log.String(), "failures=21") {
			t.Errorf("the log does not say how many failed since the last time:\n%s", log.String())
		}
	})
}
