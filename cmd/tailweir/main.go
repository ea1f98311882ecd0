// Command tailweir is the tool for people: everything in one process, to try it and to develop against.
//
//	tailweir local [flags]    broker, ingest, worker and console in this process
//	tailweir broker [flags]   the embedded Pub/Sub alone
//	tailweir fleet [flags]    what a fleet's log says: who leads, what is decided
//	tailweir probe [flags]    measures whether a fleet can run on a project's Pub/Sub
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"tailweir/service"
)

const usage = `usage: tailweir <command> [flags]

  local    everything in one process: OTLP on :4318 and :4317, console on http://localhost:8080
  broker   the embedded Pub/Sub alone, for PUBSUB_EMULATOR_HOST
  fleet    what a fleet's log says: who leads, who is a member, what is decided
  probe    measures whether a fleet can run on a project's Pub/Sub, and with which fleet_timing

tailweir <command> --help lists the flags.`

func main() { os.Exit(service.Main("tailweir", run)) }

func run(ctx context.Context, args []string, getenv func(string) string) error {
	if len(args) == 0 {
		return &service.UsageError{Err: errors.New("no command given: want local, broker, fleet or probe; tailweir --help says more")}
	}
	switch args[0] {
	case "local":
		return help(runLocal(ctx, args[1:]))
	case "broker":
		return help(runBroker(ctx, args[1:]))
	case "fleet":
		return help(runFleet(ctx, args[1:], getenv))
	case "probe":
		return help(runProbe(ctx, args[1:], getenv))
	case "help", "-h", "--help":
		fmt.Println(usage)
		return nil
	}
	return &service.UsageError{Err: fmt.Errorf("unknown command %q: want local, broker, fleet or probe; tailweir --help says more", args[0])}
}

// help makes asking for the flags a success.
func help(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}

// parse parses flags in the style of this tool: one clear line for what is wrong, and no stray arguments.
func parse(flags *flag.FlagSet, about string, args []string) error {
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		printFlags(flags, about)
		return err
	case err != nil:
		return &service.UsageError{Err: fmt.Errorf("%w; tailweir %s --help lists the flags", err, flags.Name())}
	}
	if flags.NArg() > 0 {
		return &service.UsageError{Err: fmt.Errorf("%s: unexpected argument %q", flags.Name(), flags.Arg(0))}
	}
	return nil
}

// newFlags returns a flag set that leaves reporting to parse and prints flags as --name.
func newFlags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(discard{})
	flags.Usage = func() {}
	return flags
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// printFlags lists the flags on standard output.
func printFlags(flags *flag.FlagSet, about string) {
	fmt.Printf("usage: tailweir %s [flags]\n\n%s\n\n", flags.Name(), about)
	flags.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		fmt.Printf("  --%-28s %s", f.Name+" "+value, text)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Printf(" (default %s)", f.DefValue)
		}
		fmt.Println()
	})
}
