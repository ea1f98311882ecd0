package exporter

import (
	"bytes"
	"errors"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tailweir/otlp"
)

// limitFiles makes writes beyond max bytes of any file fail after the bytes that fit, as a full disk does.
func limitFiles(t *testing.T, max uint64) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: min(max, old.Max), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
}

// fillDisk mounts a small file system at dir and returns a func that takes all its space, as a full disk does.
func fillDisk(t *testing.T, dir string) (fill func(), free func()) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount a small file system: %v (needs root)", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(dir, "filler")
	fill = func() {
		if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the disk: %v, want ENOSPC", err)
		}
	}
	free = func() {
		if err := os.Remove(filler); err != nil {
			t.Error(err)
		}
	}
	return fill, free
}

func TestFileFullDisk(t *testing.T) {
	t.Run("no space", func(t *testing.T) {
		dir := t.TempDir()
		fill, free := fillDisk(t, dir)
		checkFullDisk(t, dir, fill, free)
	})
	t.Run("limited size", func(t *testing.T) { // without root
		signal.Ignore(syscall.SIGXFSZ)
		defer signal.Reset(syscall.SIGXFSZ)
		defer limitFiles(t, math.MaxUint64)
		dir := t.TempDir()
		fill := func() { limitFiles(t, uint64(len(read(t, dir, "traces.jsonl"))+100)) }
		checkFullDisk(t, dir, fill, func() { limitFiles(t, math.MaxUint64) })
	})
}

// checkFullDisk exports a batch while the disk is full: it waits, no part of its line is to be seen, and once there
// is space it is there once. The batch is larger than any page, so that its first write is torn.
func checkFullDisk(t *testing.T, dir string, fill, free func()) {
	f := openFile(t, dir)
	defer f.Close()
	first, second := traceBatch(t, 2, 1), traceBatch(t, 400, 2)
	if err := f.Export(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	before := read(t, dir, "traces.jsonl")
	fill()
	synctest.Test(t, func(t *testing.T) {
		done := make(chan error, 1)
		go func() { done <- f.Export(t.Context(), second) }()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		select {
		case err := <-done:
			t.Errorf("export returned %v while the disk was full", err)
			done <- err
		default:
		}
		if got := read(t, dir, "traces.jsonl"); !bytes.Equal(got, before) {
			t.Errorf("the failed write left %d bytes behind", len(got)-len(before))
		}
		free()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	lines := bytes.SplitAfter(read(t, dir, "traces.jsonl"), []byte("\n"))
	if len(lines) != 3 || len(lines[2]) > 0 || !bytes.Equal(lines[0], before) {
		t.Fatalf("%d lines and %d bytes, want the 2 batches", len(lines)-1, len(lines[len(lines)-1]))
	}
	if got, err := otlp.FromJSON(otlp.Traces, lines[1]); err != nil || !bytes.Equal(got, second.Payload) {
		t.Errorf("the second line is not the batch: %v", err)
	}
}

// A write whose tear cannot be undone at once is undone before the next one.
func TestFileUndoesATearLater(t *testing.T) {
	f, err := openLines(filepath.Join(t.TempDir(), "x.jsonl"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := errors.Join(f.append([]byte("{}\n")), func() error { _, err := f.file.Write([]byte("{\"torn")); return err }()); err != nil {
		t.Fatal(err)
	}
	f.end, f.torn = 3, true
	if err := f.append([]byte("[]\n")); err != nil {
		t.Fatal(err)
	}
	if got := string(read(t, f.path)); got != "{}\n[]\n" {
		t.Errorf("file holds %q", got)
	}
}
