package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"tailweir/offline"
	"tailweir/service"
)

// redactOptions is the flags of tailweir redact.
type redactOptions struct {
	config     string
	out        string
	reportOnly bool
	files      []string
}

func redactFlags(args []string) (o redactOptions, err error) {
	flags := newFlags("redact")
	flags.StringVar(&o.config, "config", "", "`FILE` with the settings, of which ingest.redact counts")
	flags.StringVar(&o.out, "out", "", "`FILE` to write to instead of standard output; it must not be there yet")
	flags.BoolVar(&o.reportOnly, "report-only", false, "write nothing but the report")
	about := "Writes the requests in the files as the ingest would publish them, redacted: JSON as a line for each, protobuf as it came. A report of\n" +
		"what each rule did goes to standard error: how often, where, never a value. Files are OTLP of traces or logs, JSON or protobuf, plain,\n" +
		"gzip or zstd; - is standard input. Hashes take their key from hash_key_file, or else TAILWEIR_REDACT_KEY."
	if o.files, err = parseFiles(flags, " TRACES...", about, args); err != nil {
		return o, err
	}
	switch {
	case o.config == "":
		return o, &service.UsageError{Err: errors.New("redact: no rules given: want --config FILE; tailweir redact --help says more")}
	case o.out != "" && o.reportOnly:
		return o, &service.UsageError{Err: errors.New("redact: --report-only writes nothing, and --out says where to; tailweir redact --help says more")}
	}
	return o, checkFiles("redact", o.files)
}

// runRedact tries rules on files.
func runRedact(ctx context.Context, args []string, getenv func(string) string) (err error) {
	o, err := redactFlags(args)
	if err != nil {
		return err
	}
	cfg, err := readConfig(o.config, "", "")
	if err != nil {
		return &service.UsageError{Err: err}
	}
	cfg.RedactKey = getenv("TAILWEIR_REDACT_KEY")
	rules, err := service.NewRedaction(cfg)
	switch {
	case err != nil:
		return &service.UsageError{Err: err}
	case rules == nil:
		return &service.UsageError{Err: fmt.Errorf("redact: %s says nothing under ingest.redact", o.config)}
	}
	out, done, err := o.output()
	if err != nil {
		return &service.UsageError{Err: err}
	}
	r := offline.NewRedaction(rules, out)
	err = readFiles(ctx, r, func() int { return r.Requests }, o.files)
	if err = cmp.Or(err, done()); err != nil && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	if r.Others > 0 {
		fmt.Fprintf(os.Stderr, "%d requests of metrics or profiles left out\n", r.Others)
	}
	return r.Print(os.Stderr)
}

// output is where the requests go, and what ends it. A file that is there is left alone: it may be one of those to be read.
func (o redactOptions) output() (out io.Writer, done func() error, err error) {
	switch {
	case o.reportOnly:
		return io.Discard, func() error { return nil }, nil
	case o.out == "":
		signal.Ignore(syscall.SIGPIPE) // a reader that has seen enough, such as head, is a good end
		w := bufio.NewWriterSize(os.Stdout, 64<<10)
		return w, w.Flush, nil
	}
	f, err := os.OpenFile(o.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	return w, func() error { return cmp.Or(w.Flush(), f.Close()) }, nil
}
