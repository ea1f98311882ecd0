package service

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tailweir/version"
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
		err := RunWorker(t.Context(), tt.args, func(name string) string { return env[name] })
		if usage := (*UsageError)(nil); !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error %v, want a UsageError that says %q", tt.args, err, tt.want)
		}
	}
}

// Both commands show themselves to probes where TAILWEIR_ADMIN says, and say nothing of users' data there.
func TestAdmin(t *testing.T) {
	p := newProcess(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "tailweir.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "fleet: off\nshutdown: 1s\nexporters:\n- {type: file, dir: %q}\n", dir), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(context.Context, []string, func(string) string) error{"ingest": RunIngest, "worker": RunWorker} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			addr := l.Addr().String()
			l.Close()
			env := map[string]string{
				"TAILWEIR_CONFIG": file, "GOOGLE_CLOUD_PROJECT": p.cfg.Project, "PUBSUB_EMULATOR_HOST": p.cfg.Emulator,
				"TAILWEIR_ADMIN": addr, "TAILWEIR_CONSOLE": "127.0.0.1:0", "PORT": "0",
			}
			args := map[string][]string{"worker": {"--force-fleet-off"}}[name]
			background(t, func(ctx context.Context) error { return run(ctx, args, func(name string) string { return env[name] }) })
			for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
				if resp, err := http.Get("http://" + addr + "/readyz"); err == nil {
					if resp.Body.Close(); resp.StatusCode == http.StatusOK {
						break
					}
				}
				if time.Now().After(end) {
					t.Fatal("not ready")
				}
			}
			for path, want := range map[string]int{"/healthz": 200, "/metrics": 200, "/": 404, "/api/stats": 404, "/api/traces": 404} {
				resp, err := http.Get("http://" + addr + path)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != want {
					t.Errorf("GET %s: %s, %v, want %d", path, resp.Status, err, want)
				}
				if path == "/metrics" && !strings.Contains(string(body), "tailweir_") {
					t.Errorf("no metrics of ours: %s", body)
				}
			}
		})
	}
	taken := listen(t)
	defer taken.Close()
	if _, err := listenAdmin("worker.admin", taken.Addr().String()); err == nil || !strings.Contains(err.Error(), "worker.admin: ") {
		t.Errorf("a taken port: error %v, want one that names the setting", err)
	}
}

func TestAdminIsNotReady(t *testing.T) {
	var ready bool
	h := adminHandler(http.NotFoundHandler(), func() bool { return ready })
	ask := func(path string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}
	if got := []int{ask("/healthz"), ask("/readyz")}; !slices.Equal(got, []int{200, 503}) {
		t.Errorf("before it is ready: %d, want 200 and 503", got)
	}
	if ready = true; ask("/readyz") != 200 {
		t.Errorf("when it is ready: %d, want 200", ask("/readyz"))
	}
}

func TestVersionFlag(t *testing.T) {
	var out bytes.Buffer
	if _, err := (Command{Name: "worker"}).flags([]string{"--version"}, &out); !errors.Is(err, flag.ErrHelp) || out.String() != version.Line()+"\n" {
		t.Errorf("--version: %v, %q", err, out.String())
	}
}
