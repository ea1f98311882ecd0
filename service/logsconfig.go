package service

import (
	"cmp"
	"fmt"

	"tailweir/otlp"
	"tailweir/pipeline"
	"tailweir/strictyaml"
)

// LogsConfig says which log records are exported, and when; docs/logs.md explains it.
type LogsConfig struct {
	Keep        LogsKeep    `yaml:"keep"`
	AlwaysAbove Severity    `yaml:"always_above"` // with Keep with_trace
	Wait        bool        `yaml:"wait"`
	Orphans     LogsOrphans `yaml:"orphans"`
	Rules       []LogRule   `yaml:"rules"`
}

// LogsKeep is the setting logs.keep: all or with_trace.
type LogsKeep string

// Values returns the legal settings.
func (LogsKeep) Values() []string { return []string{"all", "with_trace"} }

// LogsOrphans is the setting logs.orphans: what becomes of records that waited for a trace that showed no span.
type LogsOrphans string

// Values returns the legal settings.
func (LogsOrphans) Values() []string { return []string{"keep", "drop"} }

// LogRule says what becomes of the log records that meet all its conditions.
type LogRule struct {
	SeverityMin Severity    `yaml:"severity_min"`
	SeverityMax Severity    `yaml:"severity_max"`
	Attribute   string      `yaml:"attribute"`
	Values      []string    `yaml:"values"`
	Keep        LogRuleKeep `yaml:"keep,required"`
}

// LogRuleKeep is the setting logs.rules[].keep.
type LogRuleKeep string

// Values returns the legal settings.
func (LogRuleKeep) Values() []string { return []string{"all", "with_trace", "at_once", "never"} }

// Severity is the name of a severity as OTLP names them; off and "" are none.
type Severity string

// Values returns the legal settings.
func (Severity) Values() []string { return append(otlp.Severities[:], "off") }

// rules is the settings as the pipeline takes them: the rules in order, and what becomes of records that none names.
func (c LogsConfig) rules() (rules []pipeline.LogRule, otherwise pipeline.LogsKeep) {
	for _, r := range c.Rules {
		low, _ := otlp.ParseSeverity(string(r.SeverityMin))
		_, high := otlp.ParseSeverity(string(r.SeverityMax))
		rules = append(rules, pipeline.LogRule{
			MinSeverity: low, MaxSeverity: high, Attribute: r.Attribute, Values: r.Values, Keep: pipeline.LogsKeep(r.Keep),
		})
	}
	if !c.Wait {
		return rules, pipeline.LogsAtOnce
	}
	if low, _ := otlp.ParseSeverity(string(c.AlwaysAbove)); low > 0 && c.Keep == "with_trace" {
		rules = append(rules, pipeline.LogRule{MinSeverity: low, Keep: pipeline.LogsAtOnce})
	}
	return rules, pipeline.LogsKeep(c.Keep)
}

func (c LogsConfig) check(d *strictyaml.Decoder) {
	if !c.Wait && c.Keep == "with_trace" {
		d.Faultf("logs.wait", "false contradicts logs.keep: with_trace: a record that does not wait knows no decision to share")
	}
	if !c.Wait && c.Orphans == "drop" {
		d.Faultf("logs.orphans", "drop contradicts logs.wait: false: a record that does not wait is no orphan")
	}
	if len(c.Rules) >= pipeline.MaxLogRules {
		d.Faultf("logs.rules", "are %d, want less than %d", len(c.Rules), pipeline.MaxLogRules)
	}
	for i, r := range c.Rules {
		r.check(d, fmt.Sprintf("logs.rules[%d]", i), c.Wait)
	}
}

func (r LogRule) check(d *strictyaml.Decoder, path string, wait bool) {
	low, _ := otlp.ParseSeverity(string(r.SeverityMin))
	_, high := otlp.ParseSeverity(string(r.SeverityMax))
	if low > 0 && high > 0 && low > high {
		d.Faultf(path+".severity_max", "%s is below severity_min, %s: no record matches", r.SeverityMax, r.SeverityMin)
	}
	if r.Attribute == "" && len(r.Values) > 0 {
		d.Faultf(path+".values", "stand without attribute")
	}
	if cmp.Or(low, high) == 0 && r.Attribute == "" {
		d.Faultf(path, "matches every record, and those after it none: want severity_min, severity_max or attribute")
	}
	if !wait && (r.Keep == "all" || r.Keep == "with_trace") {
		d.Faultf(path+".keep", "%s contradicts logs.wait: false: want at_once or never", r.Keep)
	}
}
