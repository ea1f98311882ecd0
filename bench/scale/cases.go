package scale

import "math"

// One is the instance that docs/scaling.md recommends: one vCPU, and a hold that is large enough for 60 % of it.
var One = Instance{Cores: 1, MaxHold: 2 << 30, Start: 20}

func all(int) float64 { return math.Inf(1) }

func flat(rate float64) func(int) float64 { return func(int) float64 { return rate } }

// Loads are the four days that the signals are compared on.
var Loads = []Load{
	{"day", 24 * 3600, func(t int) float64 {
		// From 80,000 spans/s at four in the morning to 480,000 in the afternoon.
		return 280_000 - 200_000*math.Cos(2*math.Pi*(float64(t)/3600-4)/24)
	}, all},
	{"burst ×10", 2 * 3600, func(t int) float64 {
		if t >= 1800 && t < 3600 {
			return 1_000_000
		}
		return 100_000
	}, all},
	{"outage", 4 * 3600, flat(300_000), func(t int) float64 {
		if t >= 1800 && t < 5400 {
			return 0
		}
		return math.Inf(1)
	}},
	{"slow drain", 4 * 3600, flat(300_000), func(t int) float64 {
		switch {
		case t < 1800:
			return math.Inf(1)
		case t < 3600:
			return 0
		}
		return 420_000 // the backend's quota
	}},
}

// Contender is a signal with the instances that it is tried on.
type Contender struct {
	Signal
	Instance
}

// Contenders are compared, the recommended one first. The thresholds of the first three are the formulas of this package.
func Contenders() []Contender {
	w, small := Defaults, One
	small.MaxHold = 512 << 20 // the default of hold.max_bytes
	cpu := func(target float64) func(Seen, Seen) float64 {
		return func(now, _ Seen) float64 { return float64(now.Workers) * now.CPU / target }
	}
	return []Contender{
		{Signal{"CPU", false, cpu(w.CPUTarget(One))}, One},
		{Signal{"publish rate", true, func(_, late Seen) float64 { return late.Published / w.Rate(One) }}, One},
		{Signal{"undelivered, by the held amount", true, func(_, late Seen) float64 { return late.Undelivered / w.HeldMessages(One) }}, One},
		{Signal{"undelivered, 1000 each", true, func(_, late Seen) float64 { return late.Undelivered / 1000 }}, One},
		{Signal{"oldest age, 60 s", true, func(now, late Seen) float64 { return float64(now.Workers) * late.Oldest / 60 }}, One},
		{Signal{"CPU at 60 %, holds of 512 MiB", false, cpu(MostCPU)}, small},
	}
}

// Compare runs every contender on every load.
func Compare(seed uint64) [][]Run {
	var runs [][]Run
	for _, l := range Loads {
		var row []Run
		for _, c := range Contenders() {
			row = append(row, Simulate(Case{Workload: Defaults, Instance: c.Instance, Rules: Autoscaler, Load: l, Signal: c.Signal, Seed: seed}))
		}
		runs = append(runs, row)
	}
	return runs
}
