package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long a condition may take to come true. On an idle machine all do within a few seconds.
const patience = 60 * time.Second

// binaries is the directory of the product's commands, built once for all tests.
var binaries string

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	if binaries = os.Getenv("TAILWEIR_E2E_BINARIES"); binaries != "" { // this is TestDeployedLosesNothing, run by itself
		stop, err := startGuard()
		if err != nil {
			return 0, err
		}
		defer stop()
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp("", "tailweir-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	// As the image's program is built, which makes what is compiled here of use there.
	build := exec.Command("go", "build", "-trimpath", "-o", dir+string(filepath.Separator), "./cmd/...")
	build.Dir, build.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the commands: %w\n%s", err, out)
	}
	binaries = dir
	stop, err := startGuard()
	if err != nil {
		return 0, err
	}
	defer stop()
	return m.Run(), nil
}

// need returns the path of a program that a test cannot do without. Where it is missing the test is skipped, in CI it fails.
func need(t *testing.T, install string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, fmt.Sprintf("%s is not installed: %s", names[0], install))
	return ""
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("needed in CI: %s", what)
	}
	t.Skip("skipped: " + what)
}

// await asks every 50 ms until met returns "", and fails with what it last returned.
func await(t *testing.T, what string, met func() string) {
	t.Helper()
	awaitFor(t, patience, what, met)
}

func awaitFor(t *testing.T, limit time.Duration, what string, met func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		missing := met()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v: %s", what, limit, missing)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
