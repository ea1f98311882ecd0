package main

import (
	"context"
	"flag"
	"fmt"

	"tailweir/bench/costs"
)

// sayCosts prints the tables of docs/costs.md.
func sayCosts(_ context.Context, args []string) error {
	if err := parse(flag.NewFlagSet("costs", flag.ContinueOnError), args); err != nil {
		return err
	}
	prices, bill, compared := costs.Tables()
	fmt.Print(prices, "\n", bill, "\n", compared)
	return nil
}
