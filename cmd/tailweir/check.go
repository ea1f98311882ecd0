package main

import (
	"errors"
	"fmt"
	"os"

	"tailweir/otelcol"
	"tailweir/sampler"
	"tailweir/service"
)

// checkOptions is the flags of tailweir check.
type checkOptions struct {
	collector string
	processor string
	compat    sampler.Compat
	file      string
}

func checkFlags(args []string) (o checkOptions, err error) {
	flags := newFlags("check")
	flags.StringVar(&o.collector, "from-collector", "", "`FILE` of a collector, to print Tailweir's configuration for it")
	flags.StringVar(&o.processor, "processor", "", "`NAME` of the tail_sampling processor, where a collector's file has several")
	compatFlag(flags, &o.compat)
	about := "Validates a file of Tailweir's, or of policies alone, and prints all that is effective, defaults included. Warnings go to\n" +
		"standard error. Exit status 1: the file has faults, each with its place."
	files, err := parseFiles(flags, " FILE", about, args)
	if err != nil {
		return o, err
	}
	if o.collector != "" {
		files = append(files, o.collector)
	}
	if len(files) != 1 {
		return o, &service.UsageError{Err: errors.New("check: want one file, or one with --from-collector; tailweir check --help says more")}
	}
	o.file = files[0]
	return o, nil
}

func runCheck(args []string) error {
	o, err := checkFlags(args)
	if err != nil {
		return err
	}
	src, err := os.ReadFile(o.file)
	if err != nil {
		return &service.UsageError{Err: err}
	}
	if o.collector != "" {
		return o.carry(src)
	}
	if otelcol.Is(topKeys(src)) {
		return &service.UsageError{Err: fmt.Errorf("check: %s is a collector's file: want --from-collector %[1]s", o.file)}
	}
	cfg, err := parseConfig(o.file, src, o.processor, o.compat)
	if err != nil {
		return err
	}
	return show(cfg.Effective(), cfg.Warnings)
}

// carry prints Tailweir's configuration for a collector's.
func (o checkOptions) carry(src []byte) error {
	f, err := otelcol.Parse(o.file, src)
	if err != nil {
		return err
	}
	s, err := f.Sampler(o.processor)
	if err != nil {
		return err
	}
	document, lost, err := s.Carry(o.compat)
	if err != nil {
		return err
	}
	return show(document, lost)
}

func show(document []byte, lines []string) error {
	for _, line := range lines {
		fmt.Fprintln(os.Stderr, line)
	}
	_, err := os.Stdout.Write(document)
	return err
}
