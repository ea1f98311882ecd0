package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"
)

const (
	recordings = "../../exporter/testdata/recorded"
	maxBytes   = 30_000 // of a file: they are read by people and live in the repository for ever
	patience   = 5 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 || apps[args[0]] == nil {
		return errors.New("usage: go run . node|go|java")
	}
	name := args[0]
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	var t tape
	server := &http.Server{Handler: &t}
	go server.Serve(listener)
	defer server.Close()
	if err := apps[name](ctx, environment(name, "http://"+listener.Addr().String())); err != nil {
		return fmt.Errorf("app %s: %w", name, err)
	}
	return errors.Join(t.write(name, "traces"), t.write(name, "logs"))
}

// tape is an OTLP endpoint that remembers what it is sent. Export requests concatenated are one export request, so what an
// SDK sends in several is recorded as one.
type tape struct {
	mu       sync.Mutex
	requests map[string][]byte // by signal; guarded by mu
}

func (t *tape) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("Content-Encoding") != "" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "want a plain protobuf body", http.StatusBadRequest)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.requests == nil {
		t.requests = map[string][]byte{}
	}
	signal := filepath.Base(r.URL.Path)
	t.requests[signal] = append(t.requests[signal], body...)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (t *tape) write(app, signal string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.requests[signal]
	if len(b) == 0 || len(b) > maxBytes {
		return fmt.Errorf("record %s %s: %d bytes, want 1 to %d", app, signal, len(b), maxBytes)
	}
	file := filepath.Join(recordings, app+"-"+signal+".pb")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return fmt.Errorf("record %s %s: %w", app, signal, err)
	}
	fmt.Printf("%s: %d bytes\n", file, len(b))
	return nil
}
