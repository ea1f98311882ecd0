// Command tailweir is all of the product in one program, for people and for containers: everything in one process, to try it and to
// develop against, the two processes of production, and the tools around them.
//
//	tailweir local [flags]    broker, ingest, worker and console in this process
//	tailweir ingest [flags]   as the program ingest
//	tailweir worker [flags]   as the program worker
//	tailweir broker [flags]   the embedded Pub/Sub alone
//	tailweir fleet [flags]    what a fleet's log says: who leads, what is decided
//	tailweir decide [flags]   what policies would decide on the traces in files
//	tailweir redact [flags]   what the rules of ingest.redact make of the requests in files
//	tailweir check [flags]    validates a configuration, or makes one from a collector's
//	tailweir probe [flags]    measures whether a fleet can run on a project's Pub/Sub
//	tailweir key new|check    makes keys for apps, checks a file of them
//	tailweir version          which build this is
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"tailweir/sampler"
	"tailweir/service"
	"tailweir/version"
)

const usage = `usage: tailweir <command> [flags]

  local    everything in one process: OTLP on :4318 and :4317, console on http://localhost:8080
  ingest   OTLP in, Pub/Sub out
  worker   holds payloads from Pub/Sub, decides, exports
  broker   the embedded Pub/Sub alone, for PUBSUB_EMULATOR_HOST
  fleet    what a fleet's log says: who leads, who is a member, what is decided
  decide   what policies would decide on the traces in files, without deciding anything
  redact   what the rules of ingest.redact make of the requests in files, with a report of what they found
  check    validates a configuration and prints what is effective; --from-collector makes one from a collector's
  probe    measures whether a fleet can run on a project's Pub/Sub, and with which fleet_timing
  key      makes a key for an app, checks a file of keys
  version  which build this is

tailweir <command> --help lists the flags.`

func main() { os.Exit(service.Main("tailweir", run)) }

func run(ctx context.Context, args []string, getenv func(string) string) error {
	if len(args) == 0 {
		return &service.UsageError{Err: errors.New("no command given: want local, ingest, worker, broker, fleet, decide, redact, check, probe, key or version; tailweir --help says more")}
	}
	switch args[0] {
	case "local":
		return help(runLocal(ctx, args[1:]))
	case "ingest":
		return service.RunIngest(ctx, args[1:], getenv)
	case "worker":
		return service.RunWorker(ctx, args[1:], getenv)
	case "broker":
		return help(runBroker(ctx, args[1:]))
	case "fleet":
		return help(runFleet(ctx, args[1:], getenv))
	case "decide":
		return help(runDecide(ctx, args[1:]))
	case "redact":
		return help(runRedact(ctx, args[1:], getenv))
	case "check":
		return help(runCheck(args[1:]))
	case "probe":
		return help(runProbe(ctx, args[1:], getenv))
	case "key":
		return help(runKey(args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "version", "--version":
		if len(args) > 1 {
			return &service.UsageError{Err: fmt.Errorf("version: unexpected argument %q", args[1])}
		}
		fmt.Println(version.Line())
		return nil
	case "help", "-h", "--help":
		fmt.Println(usage)
		return nil
	}
	return &service.UsageError{Err: fmt.Errorf("unknown command %q: want local, ingest, worker, broker, fleet, decide, redact, check, probe, key or version; tailweir --help says more", args[0])}
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
	files, err := parseFiles(flags, "", about, args)
	if err == nil && len(files) > 0 {
		err = &service.UsageError{Err: fmt.Errorf("%s: unexpected argument %q", flags.Name(), files[0])}
	}
	return err
}

// parseFiles is parse for a command that takes files, before, between and after its flags; what names them in the help.
func parseFiles(flags *flag.FlagSet, what, about string, args []string) (files []string, err error) {
	for {
		switch err := flags.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			printFlags(flags, what, about)
			return nil, err
		case err != nil:
			return nil, &service.UsageError{Err: fmt.Errorf("%w; tailweir %s --help lists the flags", err, flags.Name())}
		}
		if flags.NArg() == 0 {
			return files, nil
		}
		files = append(files, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

// compatFlag is the flag of what reads policies.
func compatFlag(flags *flag.FlagSet, into *sampler.Compat) {
	flags.Func("compat", "`strict`: the collector's own answers, with its faults", func(s string) error {
		if *into = sampler.Compat(s); *into != sampler.Strict {
			return fmt.Errorf("unknown value, want %s", sampler.Strict)
		}
		return nil
	})
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
func printFlags(flags *flag.FlagSet, what, about string) {
	fmt.Printf("usage: tailweir %s [flags]%s\n\n%s\n\n", flags.Name(), what, about)
	flags.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		fmt.Printf("  --%-28s %s", f.Name+" "+value, text)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Printf(" (default %s)", f.DefValue)
		}
		fmt.Println()
	})
}
