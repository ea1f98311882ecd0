package probe

import (
	"fmt"
	"time"
)

// dollarsPerTiB is Pub/Sub's price of what is published and of what is delivered; a message counts 1 kB at least. A bill
// may be smaller: the first 10 GiB of a month are free, and a request is charged 1 kB, not each message in it.
const dollarsPerTiB = 40

// Plan says what Run would do with the configuration, for a person to agree to.
func Plan(c Config) string {
	load := int(c.Duration/pace) * c.Publishers
	small := load * (1 + c.Subscriptions)
	back := min(load, int(replay/pace)*c.Publishers)
	burst := 2 * burstBytes * float64(2+c.Subscriptions)
	bytes := float64(small+back)*1000 + burst
	took := c.Duration + 2*c.burstTime() + time.Minute
	suite := ""
	if !c.SkipSuite {
		bytes += suiteBytes
		took += 4 * time.Minute
		suite = "  a topic and a subscription for each case of the conformance suite, about 60 in turn, and 3 snapshots\n"
	}
	return fmt.Sprintf(`In project %s this would make, for about %v, and then delete:

  topic %s…-log, and %d ordered subscriptions on it
  %d topics and subscriptions %s…-lease and the like
%s
It would publish about %d entries and read them %d times, which costs about $%.2f at $%d per TiB with 1 kB for a message.
Subscriptions that should be left expire after a day without use.
`, c.Queue.Project, took.Round(time.Minute), namePrefix, c.Subscriptions+1, len(settleChecks), namePrefix, suite, load, c.Subscriptions, bytes/(1<<40)*dollarsPerTiB, dollarsPerTiB)
}

// suiteBytes is what the conformance suite publishes and reads: 100,000 messages twice, and some of 1 to 10 MB.
const suiteBytes = 300e6
