// Command bench floods a Tailweir with realistic telemetry and proves what came out.
//
//	bench run      load → ingest → broker → worker → sink as separate processes, with a table of costs and the proof
//	bench cost     the same for several numbers of workers: what each costs, and how long a trace takes
//	bench load     the load alone, against any OTLP receiver on this machine
//	bench sink     the receiver that counts, of OTLP and of Google's APIs
//	bench broker   the embedded Pub/Sub broker
//	bench outage   the backend away for a minute under load, with memory for a fraction of it
//	bench scale    what an autoscaler of workers may look at, simulated (docs/scaling.md)
//	bench costs    what a month costs (docs/costs.md)
//	bench torture  rounds of run in which processes are killed and stopped and Pub/Sub fails, with one tally
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// errIncomplete is returned when something was lost, torn or made up; the proof has been printed.
var errIncomplete = errors.New("the run is not complete")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, []string) error{
		"run": orchestrate, "cost": compareCosts, "load": load, "sink": serveSink, "broker": serveBroker, "torture": torture, "outage": outage, "exporters": measureExporters,
		"scale": simulateScaling, "costs": sayCosts,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("usage: bench run|cost|load|sink|broker|torture|outage|exporters|scale|costs [flags]; -h after a command lists its flags")
	}
	return commands[args[0]](ctx, args[1:])
}

// parse reads flags and refuses anything else.
func parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%s: unexpected argument %q", f.Name(), f.Arg(0))
	}
	return nil
}
