package main

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"tailweir/queue"
	"tailweir/queue/broker"
	"tailweir/service"
)

// emulator serves a broker with a log topic and returns the environment to reach it.
func emulator(t *testing.T) (*broker.Server, func(string) string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := broker.New(broker.Config{})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	client, err := queue.Open(t.Context(), queue.Config{Project: "p", Endpoint: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.CreateRetainingTopic(t.Context(), "log", 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := client.OrderedPublisher("log", "lane-0").Publish(t.Context(), []byte("no entry")); err != nil {
		t.Fatal(err)
	}
	if err := client.CreateRetainingTopic(t.Context(), "tailweir-log", 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	return server, func(name string) string { return map[string]string{"PUBSUB_EMULATOR_HOST": l.Addr().String()}[name] }
}

func TestFleetReadsTheLog(t *testing.T) {
	server, env := emulator(t)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"empty", []string{"--project", "p"}, "It is empty"},
		{"not a fleet's", []string{"--project", "p", "--log", "log", "--since", "1m"}, "1 messages that are not a fleet's"},
		{"json", []string{"--project", "p", "--log", "log", "--json"}, `"unreadable":1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := capture(t)
			err := run(t.Context(), append([]string{"fleet"}, tt.args...), env)
			text := out.end()
			if err != nil || !strings.Contains(text, tt.want) {
				t.Errorf("%v; printed %q, want %q", err, text, tt.want)
			}
			if r := (service.LogReport{}); strings.Contains(text, "{") && (json.Unmarshal([]byte(text), &r) != nil || r.Known || r.Live || r.AgeMS <= 0) {
				t.Errorf("%q as JSON: %+v", text, r)
			}
		})
	}
	err := run(t.Context(), []string{"fleet", "--project", "p", "--log", "nobody-made-it"}, env)
	if err == nil || !strings.Contains(err.Error(), "nobody-made-it") || !strings.Contains(err.Error(), "NotFound") {
		t.Errorf("a log that does not exist: error %v", err)
	}
	for _, s := range server.Stats().Subscriptions {
		t.Errorf("the subscription %s is left", s.Name)
	}
}

func TestReportForPeople(t *testing.T) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	known := service.LogReport{
		Log: "tailweir-log", Begin: at.Add(-10 * time.Minute), Newest: at, AgeMS: 400, Known: true, Leader: "a1", Since: at.Add(-time.Minute), Term: "ff", Seq: 120,
		Members: []string{"a1", "b2"}, Epoch: 3, Policy: "f00d", Claims: 2, Terms: 1, Probes: 5, Entries: 2.04, Kept: 10.5, Dropped: 89.5, PeriodMS: 600_000,
	}
	for name, tt := range map[string]struct {
		change func(*service.LogReport)
		want   []string
		lack   string
	}{
		"a fleet":       {func(*service.LogReport) {}, []string{"a1 since 11:59:00.000 UTC, term ff, entry 120", "2: a1 b2", "f00d, epoch 3", "2.0 entries/s, decisions: 10.5/s kept, 89.5/s dropped, over 600.0 s", "2 claims, 1 leaders, 5 probes", "anomalies  none", "0.4 s ago"}, "read back"},
		"from now":      {func(r *service.LogReport) { r.Live = true }, []string{"it cannot be read back here"}, "none known"},
		"nobody leads":  {func(r *service.LogReport) { r.Resigned = true }, []string{"none: a1 resigned"}, "since 11:59"},
		"nothing known": {func(r *service.LogReport) { r.Known = false }, []string{"not known from what was read"}, "members"},
		"no policies":   {func(r *service.LogReport) { r.Policy = "" }, []string{"not announced"}, "epoch"},
		"anomalies":     {func(r *service.LogReport) { r.Anomalies = map[string]int64{"hole": 2, "broken_chain": 1} }, []string{"anomalies  broken_chain 1  hole 2"}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			r := known
			tt.change(&r)
			var b strings.Builder
			printReport(&b, r)
			for _, want := range tt.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("lacks %q:\n%s", want, &b)
				}
			}
			if strings.Contains(b.String(), tt.lack) {
				t.Errorf("has %q:\n%s", tt.lack, &b)
			}
		})
	}
}
