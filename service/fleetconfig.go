package service

import (
	"strings"
	"time"

	"tailweir/fleet/member"
	"tailweir/fleet/order"
	"tailweir/strictyaml"
)

// FleetMode is the setting fleet.
type FleetMode string

// How a worker comes to its decisions.
const (
	FleetOff    FleetMode = "off"    // alone, in its own process: it forgets them when it restarts
	FleetPubSub FleetMode = "pubsub" // with all workers, by the log
)

// Values returns the legal settings.
func (FleetMode) Values() []string { return []string{string(FleetOff), string(FleetPubSub)} }

// FleetTiming is the constants of the fleet's rules. All workers of a fleet must have the same.
type FleetTiming struct {
	Death  time.Duration `yaml:"death"`
	Gap    time.Duration `yaml:"gap"`
	Open   time.Duration `yaml:"open"`
	Delta  time.Duration `yaml:"delta"`
	Fence  time.Duration `yaml:"fence"`
	Replay time.Duration `yaml:"replay"`
}

func defaultTiming() FleetTiming {
	o := order.Config{}.Defaults()
	return FleetTiming{Death: o.Death, Gap: o.Gap, Open: o.Open, Delta: o.Delta, Fence: 6 * time.Second, Replay: 10 * time.Minute}
}

// Order returns the constants of the log's rules.
func (t FleetTiming) Order() order.Config {
	return order.Config{Death: t.Death, Gap: t.Gap, Open: t.Open, Delta: t.Delta}
}

// maxReplay is the retention of a topic, 31 days at most, with room for the margin.
const maxReplay = 30 * 24 * time.Hour

// check reports the constants with which the fleet could disagree or stand still.
func (t FleetTiming) check(d *strictyaml.Decoder, lease time.Duration) {
	for _, fault := range (member.Config{Fence: t.Fence, Order: t.Order(), Replay: t.Replay}).Validate() {
		key, _, _ := strings.Cut(fault, " ")
		d.Faultf("fleet_timing."+key, "%s", fault)
	}
	within(d, "fleet_timing.death", t.Death, time.Second, 10*time.Minute)
	within(d, "fleet_timing.fence", t.Fence, time.Second, 10*time.Minute)
	within(d, "fleet_timing.replay", t.Replay, time.Minute, maxReplay)
	if least := lease + 2*time.Second; t.Death < least {
		d.Faultf("fleet_timing.death", "%v is too short for the lease: want %v at least, hold.lease and 2s, so that the messages of a killed worker are back before it is taken for dead", t.Death, least)
	}
}

// retention is what the log topic must keep: what a joiner reads, and a margin for the time until it does. Pub/Sub takes no
// less than 10 minutes.
func (t FleetTiming) retention() time.Duration { return max(t.Replay, 10*time.Minute) + time.Minute }
