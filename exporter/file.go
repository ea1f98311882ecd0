package exporter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tailweir/otlp"
)

// FileConfig tells NewFile where to write. Zero fields mean their defaults.
type FileConfig struct {
	Dir  string // created when missing; one process at a time writes into it
	Sync bool   // fsync each batch: survives a power cut, costs a disk write per batch; default false

	InitialBackoff time.Duration // before the first retry of a failed write; default 1 s
	MaxBackoff     time.Duration // between retries; default 30 s

	Logger *slog.Logger // failed writes; default slog.Default()
}

func (c FileConfig) withDefaults() FileConfig {
	if c.InitialBackoff == 0 {
		c.InitialBackoff = time.Second
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Validate reports all faults at once.
func (c FileConfig) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("file exporter directory: not set"))
	}
	if c.InitialBackoff < 0 || c.MaxBackoff < c.InitialBackoff {
		errs = append(errs, fmt.Errorf("file exporter backoff %s to %s: want 0 < initial <= max", c.InitialBackoff, c.MaxBackoff))
	}
	return errors.Join(errs...)
}

// File appends batches to traces.jsonl and logs.jsonl in the format of the OpenTelemetry collector's file
// exporter: one OTLP JSON request per line. A line is there whole or not at all. Safe for concurrent use.
type File struct {
	traces, logs *lineFile
	retry        retry
	log          *slog.Logger
}

// NewFile opens or creates both files, and cuts off a line that a crash left half written.
func NewFile(c FileConfig) (*File, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("file exporter: %w", err)
	}
	traces, err := openLines(filepath.Join(c.Dir, "traces.jsonl"), c.Sync)
	if err != nil {
		return nil, fmt.Errorf("file exporter: %w", err)
	}
	logs, err := openLines(filepath.Join(c.Dir, "logs.jsonl"), c.Sync)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("file exporter: %w", err), traces.close())
	}
	return &File{traces: traces, logs: logs, retry: retry{c.InitialBackoff, c.MaxBackoff}, log: c.Logger}, nil
}

// Name is "file".
func (f *File) Name() string { return "file" }

// Close closes both files. Export fails afterwards.
func (f *File) Close() error { return errors.Join(f.traces.close(), f.logs.close()) }

// Export writes the batch as one line and returns after the operating system, with Sync the disk, has it. A
// failed write (a full disk) is undone and retried until ctx is done.
func (f *File) Export(ctx context.Context, b *Batch) error {
	if b.Items == 0 || len(b.Payload) == 0 {
		return nil
	}
	var lines *lineFile
	switch b.Signal {
	case otlp.Traces:
		lines = f.traces
	case otlp.Logs:
		lines = f.logs
	default:
		return &PermanentError{Err: fmt.Errorf("export %s: file exporter writes traces and logs only", b.Signal)}
	}
	line, err := otlp.ToJSON(b.Signal, b.Payload)
	if err != nil {
		return &PermanentError{Err: fmt.Errorf("export %s to %s: %w", b.Signal, lines.path, err)}
	}
	line = append(line, '\n')
	err = f.retry.do(ctx, func(context.Context) *Fault {
		err := lines.append(line)
		if err == nil {
			return nil
		}
		f := &Fault{Endpoint: lines.path, Code: "write", Msg: err.Error(), Cause: err, Verdict: Busy}
		if errors.Is(err, os.ErrClosed) {
			f.Verdict = Refused // everything else (no space, quota, a vanished mount) can be mended while we wait
		}
		return f
	}, func(ft *Fault, wait time.Duration) {
		f.log.Warn("file write is retried", "wait", wait, "error", ft)
	})
	if err != nil {
		return fmt.Errorf("export %s to %w", b.Signal, err)
	}
	return nil
}

// lineFile is a file of whole lines.
type lineFile struct {
	path string
	sync bool

	mu   sync.Mutex
	file *os.File
	end  int64 // after the last whole line; valid while torn
	torn bool  // bytes of a failed write may follow end
}

func openLines(path string, sync bool) (*lineFile, error) {
	// Append mode, so that a rotation by copy and truncate leaves no hole of zeros.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	f := &lineFile{path: path, sync: sync, file: file}
	if err := f.mend(); err != nil {
		return nil, errors.Join(fmt.Errorf("mend %s: %w", path, err), file.Close())
	}
	return f, nil
}

func (f *lineFile) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}

// append writes one line, whole or not at all.
func (f *lineFile) append(line []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.untearLocked(); err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	f.end = info.Size()
	_, err = f.file.Write(line)
	if err == nil && f.sync {
		err = f.file.Sync()
	}
	if err != nil {
		f.torn = true
		return errors.Join(err, f.untearLocked())
	}
	return nil
}

func (f *lineFile) untearLocked() error {
	if !f.torn {
		return nil
	}
	if err := f.file.Truncate(f.end); err != nil {
		return err
	}
	f.torn = false
	return nil
}

// mend cuts a last line without an end, which was never confirmed; if it is whole JSON (another program may
// end a file so) it gets its end instead.
func (f *lineFile) mend() error {
	info, err := f.file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	start, err := lastLine(f.file, info.Size())
	if err != nil || start == info.Size() {
		return err
	}
	tail := make([]byte, info.Size()-start)
	if _, err := f.file.ReadAt(tail, start); err != nil {
		return err
	}
	if json.Valid(tail) {
		_, err = f.file.Write([]byte{'\n'})
		return err
	}
	return f.file.Truncate(start)
}

// lastLine is the offset after the last newline before size.
func lastLine(r io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		n := min(end, int64(len(buf)))
		if _, err := r.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}
