package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"tailweir/offline"
	"tailweir/sampler"
	"tailweir/service"
)

// decideOptions is the flags of tailweir decide.
type decideOptions struct {
	config    string
	processor string
	compat    sampler.Compat
	explain   bool
	files     []string
}

func decideFlags(args []string) (o decideOptions, err error) {
	flags := newFlags("decide")
	flags.StringVar(&o.config, "config", "", "`FILE` with the policies: Tailweir's, a tail_sampling: block, policies: alone, or a collector's")
	flags.StringVar(&o.processor, "processor", "", "`NAME` of the tail_sampling processor, where a collector's file has several")
	compatFlag(flags, &o.compat)
	flags.BoolVar(&o.explain, "explain", false, "say of each trace what every policy said, and why")
	about := "Prints a line of JSON for each trace in the files: what the policies would decide. A summary goes to standard error.\n" +
		"Files are OTLP of traces, JSON or protobuf, plain, gzip or zstd; - is standard input."
	if o.files, err = parseFiles(flags, " TRACES...", about, args); err != nil {
		return o, err
	}
	usage := func(format string, args ...any) error {
		return &service.UsageError{Err: fmt.Errorf("decide: "+format+"; tailweir decide --help says more", args...)}
	}
	if o.config == "" {
		return o, usage("no policies given: want --config FILE")
	}
	return o, checkFiles("decide", o.files)
}

// checkFiles is what is wrong with the files that a command is to read.
func checkFiles(command string, files []string) error {
	stdin := func(name string) bool { return name == "-" }
	said := ""
	switch {
	case len(files) == 0:
		said = "no traces given: want files, or - for standard input"
	case slices.IndexFunc(files, stdin) != lastIndexFunc(files, stdin):
		said = "- is given twice: standard input can be read once"
	default:
		return nil
	}
	return &service.UsageError{Err: fmt.Errorf("%s: %s; tailweir %[1]s --help says more", command, said)}
}

func lastIndexFunc(s []string, f func(string) bool) int {
	for i := len(s) - 1; i >= 0; i-- {
		if f(s[i]) {
			return i
		}
	}
	return -1
}

// runDecide decides offline. Nothing goes to standard output before all input is read.
func runDecide(ctx context.Context, args []string) error {
	o, err := decideFlags(args)
	if err != nil {
		return err
	}
	cfg, err := readConfig(o.config, o.processor, o.compat)
	if err != nil {
		return &service.UsageError{Err: err}
	}
	for _, w := range cfg.Compiled.Warnings() {
		fmt.Fprintln(os.Stderr, w)
	}
	traces := offline.New(cfg.Compiled)
	if err := readFiles(ctx, traces, traces.Len, o.files); err != nil {
		return err
	}
	verdicts := traces.Decide(o.explain)
	if err := writeVerdicts(verdicts); err != nil {
		return err
	}
	remark(os.Stderr, traces.Stats)
	return offline.Summarize(verdicts, cfg.Compiled.Names()).Print(os.Stderr)
}

// writeVerdicts takes a reader that has seen enough, such as head, for a good end.
func writeVerdicts(verdicts []offline.Verdict) error {
	signal.Ignore(syscall.SIGPIPE)
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	err := offline.Write(out, verdicts)
	if err == nil {
		err = out.Flush()
	}
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// remark says what of the input has not become a line.
func remark(w io.Writer, s offline.Stats) {
	say := func(n int, format string, args ...any) {
		if n > 0 {
			fmt.Fprintf(w, format+"\n", append([]any{n}, args...)...)
		}
	}
	say(s.Repeated, "%d of %d requests came again, byte for byte, and count once", s.Requests)
	say(s.Logs, "%d log records left out: policies see spans alone")
	say(s.Others, "%d requests of metrics or profiles left out")
	say(s.Anonymous, "%d spans without a trace id left out")
	say(s.Failed, "OTTL conditions failed on spans %d times, the first: %v", s.Failure)
}

// fileReader is what reads the files that hold requests.
type fileReader interface {
	Read(name string, r io.Reader) error
}

// readFiles opens all files before it reads the first: a name that is wrong is the user's to mend, and soon. traces is for the bar.
func readFiles(ctx context.Context, to fileReader, traces func() int, names []string) error {
	var files []*os.File
	for _, name := range names {
		f := os.Stdin
		if name != "-" {
			var err error
			if f, err = os.Open(name); err != nil {
				return &service.UsageError{Err: err}
			}
			defer f.Close()
		}
		files = append(files, f)
	}
	p := newProgress(files)
	defer p.end()
	for i, f := range files {
		name := names[i]
		if name == "-" {
			name = "standard input"
		}
		if err := to.Read(name, &meter{ctx: ctx, in: f, progress: p, traces: traces}); err != nil {
			return unwrapped(name, err)
		}
	}
	return nil
}

// unwrapped is err without the name that the file system adds to it.
func unwrapped(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%s: %s: %w", name, path.Op, path.Err)
	}
	return err
}

// meter counts what is read, and stops at an interrupt.
type meter struct {
	ctx      context.Context
	in       io.Reader
	progress *progress
	traces   func() int
}

func (m *meter) Read(b []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, errors.New("interrupted")
	}
	n, err := m.in.Read(b)
	m.progress.add(n, m.traces())
	return n, err
}
