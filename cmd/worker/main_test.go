package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tailweir/service"
)

// A worker without the log is refused unless it is asked for by name.
func TestFleetOffIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "worker.yaml")
	if err := os.WriteFile(file, []byte("project: p\nfleet: off\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"TAILWEIR_CONFIG": file, "PUBSUB_EMULATOR_HOST": "127.0.0.1:1", "TAILWEIR_CONSOLE": "127.0.0.1:0"}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "--force-fleet-off"},
		{[]string{"--force-fleet-off"}, "exporters: none is configured"}, // the next thing that is missing
		{[]string{"--force"}, "worker --help says more"},
	} {
		err := run(t.Context(), tt.args, func(name string) string { return env[name] })
		if usage := (*service.UsageError)(nil); !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error %v, want a UsageError that says %q", tt.args, err, tt.want)
		}
	}
}
