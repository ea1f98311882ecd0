package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"tailweir/service"
)

// Without --yes nothing is made, and the user is told what would be, for how much.
func TestProbeAsksFirst(t *testing.T) {
	server, env := emulator(t)
	before := len(server.Stats().Topics)
	out := capture(t)
	err := run(t.Context(), []string{"probe", "--project", "mine", "--duration", "1h"}, env)
	text := out.end()
	for _, want := range []string{"project mine", "about 1h", "tailweir-probe-…-log", "conformance suite", "about $0.0", "add --yes"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%v, lacks %q:\n%s", err, want, text)
		}
	}
	if n := len(server.Stats().Topics); n != before {
		t.Errorf("%d topics were made", n-before)
	}
}

// A run that is interrupted says so on standard output, is no success, and leaves nothing.
func TestProbeInterrupted(t *testing.T) {
	server, env := emulator(t)
	before := server.Stats()
	for _, flag := range []string{"--json", "--skip-suite"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		out := capture(t)
		err := run(ctx, []string{"probe", "--project", "p", "--yes", flag}, env)
		text := out.end()
		var usage *service.UsageError
		if err == nil || errors.As(err, &usage) {
			t.Errorf("%s: error %v", flag, err)
		}
		var got struct{ Verdict string }
		if flag == "--json" && (json.Unmarshal([]byte(text), &got) != nil || !strings.HasPrefix(got.Verdict, "NO VERDICT")) {
			t.Errorf("as JSON: %s", text)
		}
		if flag != "--json" && !strings.Contains(text, "\nNO VERDICT, not measured: ") {
			t.Errorf("for people: %s", text)
		}
	}
	if after := server.Stats(); len(after.Topics) != len(before.Topics) || len(after.Subscriptions) != len(before.Subscriptions) {
		t.Errorf("left behind: %+v", after)
	}
}

func TestProbeUsage(t *testing.T) {
	out := capture(t)
	if err := run(t.Context(), []string{"probe", "--help"}, noEnv); err != nil || !strings.Contains(out.end(), "usage: tailweir probe") {
		t.Errorf("help: %v", err)
	}
	for want, args := range map[string][]string{
		"GOOGLE_CLOUD_PROJECT": {"probe"},
		"duration is 1s":       {"probe", "--project", "p", "--duration", "1s"},
		"publishers is 1":      {"probe", "--project", "p", "--publishers", "1"},
		"subscriptions is 21":  {"probe", "--project", "p", "--subscriptions", "21"},
		"unexpected argument":  {"probe", "now"},
	} {
		err := run(t.Context(), args, noEnv)
		var usage *service.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want a UsageError that says %q", args, err, want)
		}
	}
}
