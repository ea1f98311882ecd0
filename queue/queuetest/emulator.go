package queuetest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// EmulatorSkips says which cases Google's emulator (v0.8) does not pass, and why.
var EmulatorSkips = map[string]string{
	"flow-messages":       "it does not hold max_outstanding_messages",
	"flow-bytes":          "it does not hold max_outstanding_bytes",
	"ordering-redelivery": "it redelivers the one message, not the later ones of its key",
	"ping":                "it does not answer pings",
	"retry-policy":        "it redelivers the first time at once, and does not lengthen the backoff",
	"filter":              "it delivers all messages, whatever the filter",
	"filter-errors":       "it takes every filter",
	"update-topic":        "it does not know labels of a topic",
	"seek-ordering":       "it does not seek subscriptions with message ordering",
	"snapshot-labels":     "it lacks UpdateSnapshot and does not name snapshots",
	"topic-retention":     "it delivers retained messages to a new subscription without a seek",
	"detach":              "it lacks DetachSubscription",
	"log-seek":            "it does not seek subscriptions with message ordering",
	"publish-limits":      "it takes requests over 10 MB, oversized attributes and mixed ordering keys",
}

// Emulator starts Google's Pub/Sub emulator for the test and returns its
// host:port. Where it is not installed the test is skipped, or with CI=true
// in the environment fails.
func Emulator(t testing.TB) (addr string) {
	t.Helper()
	program, err := FindEmulator()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("Google's Pub/Sub emulator is needed in CI: %v", err)
		}
		t.Skipf("skipped without Google's Pub/Sub emulator: %v", err)
	}
	addr = freeAddr(t)
	start(t, program, addr)
	return addr
}

// FindEmulator returns the path of Google's Pub/Sub emulator in the Cloud SDK, or an error that says what is missing.
func FindEmulator() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", err
	}
	root, err := exec.Command("gcloud", "info", "--format=value(installation.sdk_root)").Output()
	if err != nil {
		return "", fmt.Errorf("find the Cloud SDK: %w", err)
	}
	program := filepath.Join(strings.TrimSpace(string(root)), "platform/pubsub-emulator/bin/cloud-pubsub-emulator")
	if _, err := os.Stat(program); err != nil {
		return "", err
	}
	return program, nil
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// untilStdinEnds runs a program until this process closes the pipe, or dies: a
// test binary killed by its timeout runs no cleanup. The program is a script that
// starts java, so the whole process group, which is the shell's own, is killed.
const untilStdinEnds = `"$0" "$@" </dev/null & cat >/dev/null; kill -9 0`

func start(t testing.TB, program, addr string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	var output bytes.Buffer
	cmd := exec.Command("/bin/sh", "-c", untilStdinEnds, program, "--host="+host, "--port="+port)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	alive, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	t.Cleanup(func() {
		alive.Close()
		<-exited
	})
	deadline := time.Now().Add(patience)
	for {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-exited:
			t.Fatalf("%s ended: %s", program, &output)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer on %s after %v", program, addr, patience)
		}
	}
}

// Dial connects to a server without TLS, as emulators are, for the length of the test.
func Dial(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20), grpc.MaxCallSendMsgSize(32<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
