package main

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSinks(t *testing.T) {
	const both = "traces, logs"
	at := func(name, signals string) string {
		if name == "otlp" {
			return "  - {type: otlp, endpoint: \"http://h:1\", signals: [" + signals + "]}\n"
		}
		return "  - {type: " + name + ", endpoint: \"h:3\", insecure: true, project: tailweir-bench, signals: [" + signals + "]}\n"
	}
	for _, tt := range []struct {
		list, again string // again: as String says it
		want        string
	}{
		{"otlp", "otlp", at("otlp", both)},
		{"telemetry", "telemetry", at("telemetry", both)},
		{"cloudtrace", "cloudtrace,otlp", at("cloudtrace", "traces") + at("otlp", "logs")},
		{"cloudlogging", "otlp,cloudlogging", at("otlp", "traces") + at("cloudlogging", "logs")},
		{"telemetry,cloudlogging", "telemetry,cloudlogging", at("telemetry", "traces") + at("cloudlogging", "logs")},
		{"cloudlogging,cloudtrace", "cloudtrace,cloudlogging", at("cloudtrace", "traces") + at("cloudlogging", "logs")},
		{"telemetry,cloudtrace", "cloudtrace,telemetry", at("cloudtrace", "traces") + at("telemetry", "logs")},
	} {
		var s sinks
		if err := s.Set(tt.list); err != nil {
			t.Fatal(err)
		}
		if s.String() != tt.again || s.google() != (tt.list != "otlp") {
			t.Errorf("%s reads %v, google %v", tt.list, &s, s.google())
		}
		target := target{sink: "h:1", sinkRPC: "h:2", google: "h:3", sinks: s}
		if diff := cmp.Diff("exporters:\n"+tt.want, target.exporters(false)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.list, diff)
		}
	}
	for _, list := range []string{"", "zipkin", "otlp,telemetry", "cloudtrace,cloudtrace", "cloudtrace,cloudlogging,otlp"} {
		if err := new(sinks).Set(list); err == nil {
			t.Errorf("%q is accepted", list)
		}
	}
	if got := (&target{sink: "h:1", sinkRPC: "h:2"}).exporters(true); got != "exporters:\n  - {type: otlp, endpoint: \"grpc://h:2\", signals: [traces, logs]}\n" {
		t.Errorf("without sinks: %s", got)
	}
}

// What a round begins with must exist.
func TestOpeningsExist(t *testing.T) {
	for _, a := range actors {
		for _, name := range a.opening {
			if !slices.ContainsFunc(a.faults, func(f fault) bool { return f.name == name }) {
				t.Errorf("there is no fault %q", name)
			}
		}
	}
}

// What chance picks of Google's faults is for the exporters that there are.
func TestGoogleFaultsFitTheSinks(t *testing.T) {
	r, rnd := &round{}, rand.New(rand.NewPCG(1, 1))
	if err := r.opts.sinks.Set("telemetry"); err != nil {
		t.Fatal(err)
	}
	picked := map[string]bool{}
	for range 1000 {
		picked[r.pick(rnd, actor{faults: googleFaults}, 0).name] = true
	}
	if len(picked) != len(googleFaults)-1 || picked["entries refused"] {
		t.Errorf("picked %v", picked)
	}
}
