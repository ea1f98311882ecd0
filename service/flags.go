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
	"tailweir/version"
)

// Process is what ingest and worker begin with.
type Process struct {
	Config Config
	Log    *slog.Logger  // JSON on standard error
	Client *queue.Client // to be closed
}

// Begin reads the command line and the configuration of ingest or worker and opens the client; with --create it makes
// topics and subscriptions. Asking for help or the version prints it and returns flag.ErrHelp, which Main takes for success; what is the user's
// to mend is a UsageError.
func Begin(ctx context.Context, c Command, args []string, getenv func(string) string) (p Process, err error) {
	create, err := c.flags(args, os.Stdout)
	if err != nil {
		return p, err
	}
	if p.Config, err = Load(getenv); err != nil {
		return p, &UsageError{err}
	}
	if c.Check != nil {
		if err := c.Check(p.Config); err != nil {
			return p, &UsageError{err}
		}
	}
	p.Log = CloudLog(os.Stderr)
	for _, w := range p.Config.Warnings {
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

// Command is what the command line of a process takes beside --create.
type Command struct {
	Name, About string
	Switches    []Switch
	Check       func(Config) error // of the settings; nil: nothing more
}

// Switch is a flag without a value.
type Switch struct {
	Name, About string
	On          *bool
}

// flags parses the command line. Whatever is wrong is a UsageError of one line.
func (c Command) flags(args []string, out io.Writer) (create bool, err error) {
	var tell bool
	all := append([]Switch{
		{"create", "make topics and subscriptions first; for emulators only", &create},
		{"version", "print which build this is", &tell},
	}, c.Switches...)
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, s := range all {
		flags.BoolVar(s.On, s.Name, false, "")
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(out, "usage: %s [flags]\n\n%s Settings come from the environment and the file that TAILWEIR_CONFIG names: docs/settings.md.\n\n", c.Name, c.About)
		for _, s := range all {
			fmt.Fprintf(out, "  --%-18s %s\n", s.Name, s.About)
		}
		return false, err
	case err != nil:
		return false, &UsageError{fmt.Errorf("%w; %s --help says more", err, c.Name)}
	case flags.NArg() > 0:
		return false, &UsageError{fmt.Errorf("unexpected argument %q; %s --help says more", flags.Arg(0), c.Name)}
	case tell:
		fmt.Fprintln(out, version.Line())
		return false, flag.ErrHelp
	}
	return create, nil
}
