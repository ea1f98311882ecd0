package service

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/collector/pdata/plog"

	"tailweir/exporter/exportertest"
	"tailweir/pipeline"
)

func TestLogsRules(t *testing.T) {
	type taken struct {
		Rules []pipeline.LogRule
		Keep  pipeline.LogsKeep
	}
	above := func(n int32) []pipeline.LogRule {
		return []pipeline.LogRule{{MinSeverity: n, Keep: pipeline.LogsAtOnce}}
	}
	for src, want := range map[string]taken{
		"":                                      {nil, pipeline.LogsAll},
		"keep: all, always_above: ERROR":        {nil, pipeline.LogsAll},
		"keep: with_trace":                      {above(13), pipeline.LogsWithTrace},
		"always_above: INFO3, keep: with_trace": {above(11), pipeline.LogsWithTrace},
		"keep: with_trace, always_above: off":   {nil, pipeline.LogsWithTrace},
		"wait: false":                           {nil, pipeline.LogsAtOnce},
		"wait: false, rules: [{severity_max: DEBUG, keep: never}]": {
			[]pipeline.LogRule{{MaxSeverity: 8, Keep: pipeline.LogsNever}}, pipeline.LogsAtOnce,
		},
		"keep: with_trace, rules: [{attribute: team, values: [a, b], severity_min: INFO2, severity_max: WARN, keep: all}]": {
			append([]pipeline.LogRule{{MinSeverity: 10, MaxSeverity: 16, Attribute: "team", Values: []string{"a", "b"}, Keep: pipeline.LogsAll}}, above(13)...),
			pipeline.LogsWithTrace,
		},
	} {
		cfg := Default()
		if err := cfg.Parse("f.yaml", []byte("logs: {"+src+"}\n")); err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		again := Default()
		if err := again.Parse("effective.yaml", cfg.Effective()); err != nil {
			t.Errorf("%s: what is effective of it: %v", src, err)
		}
		if diff := cmp.Diff(cfg.Logs, again.Logs, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: what is effective of it differs:\n%s", src, diff)
		}
		rules, keep := cfg.Logs.rules()
		if diff := cmp.Diff(want, taken{rules, keep}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", src, diff)
		}
	}
}

func TestLogsFaults(t *testing.T) {
	for src, want := range map[string]string{
		"logs:\n  always_above: WARNING":                                                                 `f.yaml:2:17: logs.always_above: unknown value "WARNING", known: TRACE, TRACE2,`,
		"logs:\n  orphans: lose":                                                                         `f.yaml:2:12: logs.orphans: unknown value "lose"`,
		"logs:\n  keep: with_trace\n  wait: false":                                                       `f.yaml:3:9: logs.wait: false contradicts logs.keep: with_trace`,
		"logs:\n  orphans: drop\n  wait: false":                                                          `f.yaml:2:12: logs.orphans: drop contradicts logs.wait: false`,
		"logs:\n  wait: false\n  rules:\n  - {attribute: a, keep: all}":                                  `f.yaml:4:26: logs.rules[0].keep: all contradicts logs.wait: false`,
		"logs:\n  rules:\n  - attribute: a":                                                              `f.yaml:3:5: logs.rules[0].keep: required, but missing`,
		"logs:\n  rules:\n  - {attribute: a, keep: sometimes}":                                           `f.yaml:3:26: logs.rules[0].keep: unknown value "sometimes"`,
		"logs:\n  rules:\n  - {keep: never}":                                                             `f.yaml:3:5: logs.rules[0]: matches every record`,
		"logs:\n  rules:\n  - {severity_min: off, keep: never}":                                          `f.yaml:3:5: logs.rules[0]: matches every record`,
		"logs:\n  rules:\n  - {severity_min: INFO, values: [a], keep: all}":                              `f.yaml:3:34: logs.rules[0].values: stand without attribute`,
		"logs:\n  rules:\n  - {severity_min: ERROR, severity_max: WARN, keep: all}":                      `f.yaml:3:41: logs.rules[0].severity_max: WARN is below severity_min, ERROR`,
		"logs:\n  rules: [" + strings.Repeat("{attribute: a, keep: never},", pipeline.MaxLogRules) + "]": `f.yaml:2:10: logs.rules: are 200, want less than 200`,
	} {
		cfg := Default()
		err := cfg.Parse("f.yaml", []byte(src+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%.100q: error %v, want %s", src, err, want)
		}
	}
}

// The settings reach what exports: a worker that keeps records with their trace sends the severe ones at once, and drops by a
// rule, and those whose trace shows no span.
func TestLogsSettings(t *testing.T) {
	p := newProcess(t)
	backend := exportertest.NewHTTP(t, nil)
	w := p.worker(backend, func(cfg *Config) {
		cfg.Logs = LogsConfig{Keep: "with_trace", AlwaysAbove: "ERROR", Wait: true, Orphans: "drop", Rules: []LogRule{{SeverityMax: "DEBUG", Keep: "never"}}}
	})
	for _, x := range []struct {
		trace    byte
		severity plog.SeverityNumber
		text     string
	}{{4, plog.SeverityNumberInfo, "kept"}, {5, plog.SeverityNumberWarn, "dropped"}, {5, plog.SeverityNumberError, "severe"}, {4, plog.SeverityNumberDebug, "fine"}, {6, plog.SeverityNumberInfo, "orphan"}} {
		p.sendLogOf(x.trace, x.severity, x.text)
	}
	p.sendTrace(4, true)
	p.sendTrace(5, false)
	poll(t, "messages are un-acked", func() bool {
		got := w.totals()
		return got.Received.Spans == 4 && got.Received.Logs == 5 && got.InFlight == (pipeline.Count{}) && p.unacked() == 0
	})
	if diff := cmp.Diff(map[string]int{"kept true true": 1, "severe false false": 1}, recordsAt(t, backend)); diff != "" {
		t.Errorf("log records at the backend (-want +got):\n%s", diff)
	}
	if got := w.totals().ByPolicy["(logs.rules[0]: never)"].Dropped.Logs; got != 1 {
		t.Errorf("dropped by the rule: %d, want 1", got)
	}
}
