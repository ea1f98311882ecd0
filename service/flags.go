package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"tailweir/queue"
)

// Process is what ingest and worker begin with.
type Process struct {
	Config Config
	Log    *slog.Logger  // JSON on standard error
	Client *queue.Client // to be closed
}

// Begin reads the command line and the configuration of ingest or worker and opens the client; with --create it makes
// topics and subscriptions. Asking for help prints about and returns flag.ErrHelp, which Main takes for success; what is the user's
// to mend is a UsageError.
func Begin(ctx context.Context, name, about string, args []string, getenv func(string) string) (p Process, err error) {
	create, err := flags(name, about+" Settings come from the environment and the file that TAILWEIR_CONFIG names: docs/settings.md.", args, os.Stdout)
	if err != nil {
		return p, err
	}
	if p.Config, err = Load(getenv); err != nil {
		return p, &UsageError{err}
	}
	p.Log = CloudLog(os.Stderr)
	for _, w := range p.Config.Compiled.Warnings() {
		p.Log.Warn(w)
	}
	if p.Client, err = queue.Open(ctx, queue.Config{Project: p.Config.Project, Endpoint: p.Config.Emulator}); err != nil {
		return p, err
	}
	if create {
		if err := Create(ctx, p.Config, p.Client); err != nil {
			return p, errors.Join(err, p.Client.Close())
		}
	}
	return p, nil
}

// flags parses the command line, whose only flag is --create. Whatever is wrong is a UsageError of one line.
func flags(name, about string, args []string, out io.Writer) (create bool, err error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&create, "create", false, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(out, "usage: %s [--create]\n\n%s\n\n  --create   make topics and subscriptions first; for emulators only\n", name, about)
		return false, err
	case err != nil:
		return false, &UsageError{fmt.Errorf("%w; %s --help says more", err, name)}
	case flags.NArg() > 0:
		return false, &UsageError{fmt.Errorf("unexpected argument %q; %s --help says more", flags.Arg(0), name)}
	}
	return create, nil
}
