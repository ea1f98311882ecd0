package exporter

import (
	"bytes"
	"errors"
	"math"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
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

func TestFileFullDisk(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	defer limitFiles(t, math.MaxUint64)
	dir := t.TempDir()
	f := openFile(t, dir)
	defer f.Close()
	if err := f.Export(t.Context(), traceBatch(t, 2, 1)); err != nil {
		t.Fatal(err)
	}
	before := read(t, dir, "traces.jsonl")
	limitFiles(t, uint64(len(before)+100))
	synctest.Test(t, func(t *testing.T) {
		done := make(chan error, 1)
		go func() { done <- f.Export(t.Context(), traceBatch(t, 2, 2)) }()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("export returned %v while the disk was full", err)
		default:
		}
		if got := read(t, dir, "traces.jsonl"); !bytes.Equal(got, before) {
			t.Errorf("the failed write left %d bytes behind", len(got)-len(before))
		}
		limitFiles(t, math.MaxUint64)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
	after := read(t, dir, "traces.jsonl")
	if !bytes.HasPrefix(after, before) || bytes.Count(after, []byte("\n")) != 2 || after[len(after)-1] != '\n' {
		t.Errorf("after the disk was mended: %d lines", bytes.Count(after, []byte("\n")))
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
