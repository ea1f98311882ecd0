package service

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// Flags parses the command line of ingest and worker, whose only flag is --create. Asking for help prints about and
// reports flag.ErrHelp; anything else that is wrong is a UsageError of one line.
func Flags(name, about string, args []string, out io.Writer) (create bool, err error) {
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
