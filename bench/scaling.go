package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"tailweir/bench/scale"
)

// simulateScaling compares what an autoscaler could look at. It needs nothing and takes a second.
func simulateScaling(_ context.Context, args []string) error {
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	seed := f.Uint64("seed", 1, "of the traffic's noise and the metrics' delays; the documentation has 1")
	svg := f.String("svg", "", "write the picture of docs/scaling.md to this file")
	if err := parse(f, args); err != nil {
		return err
	}
	runs := scale.Compare(*seed)
	fmt.Print(scale.Table(runs))
	if *svg == "" {
		return nil
	}
	return os.WriteFile(*svg, []byte(scale.SVG(runs)), 0o644)
}
