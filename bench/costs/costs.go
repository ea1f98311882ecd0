// Package costs says what a month costs, by formulas that docs/costs.md explains.
package costs

import (
	"fmt"
	"math"
	"strings"
)

// Price of one unit, in US dollars.
type Price struct {
	What      string
	USD       float64
	Unit      string
	Free      float64 // units a month
	Source    string
	Confirmed bool // read on the page itself, in November 2026
}

const (
	pubsubPage = "https://cloud.google.com/pubsub/pricing"
	runPage    = "https://cloud.google.com/run/pricing"
	opsPage    = "https://cloud.google.com/stackdriver/pricing"
)

// Prices are all prices there are. Regions of Tier 1, no discounts.
var Prices = struct {
	Throughput, Retention, CPU, Memory, Trace, Logging, Metrics, Condition Price
}{
	Throughput: Price{"Pub/Sub, published and again delivered", 40, "TiB", 10.0 / 1024, pubsubPage, true},
	Retention:  Price{"Pub/Sub, retained on a topic", 0.27, "GiB and month", 0, pubsubPage, false},
	CPU:        Price{"Cloud Run, CPU always allocated", 0.000018, "vCPU-second", 0, runPage, true},
	Memory:     Price{"Cloud Run, memory", 0.000002, "GiB-second", 0, runPage, false},
	Trace:      Price{"Cloud Trace", 0.20, "million spans", 2.5, opsPage, false},
	Logging:    Price{"Cloud Logging, 30 days", 0.50, "GiB", 50, opsPage, true},
	Metrics:    Price{"Cloud Monitoring, log-based metrics", 0.2580, "MiB", 150, opsPage, true},
	Condition:  Price{"Cloud Monitoring, condition of an alert", 0.10, "month", 0, opsPage, false},
}

func (p Price) of(units float64) float64 { return p.USD * max(0, units-p.Free) }

// Load is what comes in, and what is kept of it. The shape of the traces is the benchmark's.
type Load struct {
	Spans          float64 // a second
	Bytes          float64 // of a span in a payload
	PerTrace       float64 // spans
	PerPayload     float64
	Services       float64 // of a trace: each sends its part by itself
	Records        float64 // log records for each span
	RecordBytes    float64
	Kept           float64 // share of the spans
	KeptRecords    float64 // share of the records: with kept traces, and WARN and above
	Gzip           float64 // the payloads' size divided by their size in Pub/Sub
	PerAppInstance float64 // spans/s of one instance of an app, for sidecars
}

// Typical is the benchmark's load (README) at a rate. Records, shares and the instances of apps are assumptions.
func Typical(spans float64) Load {
	return Load{
		Spans: spans, Bytes: 540, PerTrace: 19, PerPayload: 40, Services: 10, Records: 0.25, RecordBytes: 500,
		Kept: 0.12, KeptRecords: 0.15, Gzip: 1, PerAppInstance: 50,
	}
}

// CPU-seconds per span: the README's upper figures and half as much again for TLS and the exporter. Use is the share that is planned for.
const (
	ingestCPU = 3.1e-6 * 1.5
	workerCPU = 6.6e-6 * 1.5
	use       = 0.6
)

// A month has 30 days.
const month = 30 * 24 * 3600

const tib, gib, mib = 1 << 40, 1 << 30, 1 << 20

// Item is a line of the bill.
type Item struct {
	What string
	USD  float64
}

// Bill is a month's.
type Bill struct {
	Items   []Item
	Workers int
	Ingests int
}

func (b Bill) Total() float64 {
	sum := 0.0
	for _, i := range b.Items {
		sum += i.USD
	}
	return sum
}

// Tailweir is the bill with it, up to the backends.
func Tailweir(l Load) Bill {
	b := Bill{
		Ingests: max(1, ceil(l.Spans*ingestCPU/use)),
		Workers: max(2, 1+ceil(l.Spans*workerCPU/use)), // one more, for the one that is killed
	}
	w := float64(b.Workers)
	payload, messages := l.payload()
	traces := l.Spans / l.PerTrace
	fragments := traces * l.Services
	facts := max(30*fragments+13*messages+216*w, 2000*w)
	log := max(25*traces+300+5*w, 2000)
	throughput := (2*payload + 2*facts + (1+w)*log) * month
	// The leader's window, the history and Go beside the hold.
	hold := l.Spans / w * 39 * 674 / 0.8
	memory := 2.0
	for memory*gib < 1.3*hold+0.5*gib {
		memory *= 2
	}
	figures := 12.0
	b.Items = []Item{
		{"Pub/Sub: payloads, in and out", Prices.Throughput.of((2 * payload * month) / tib)},
		{"Pub/Sub: facts and log", Prices.Throughput.USD * (throughput - 2*payload*month) / tib},
		{"Pub/Sub: payloads kept for a day", Prices.Retention.of(payload * 86400 / gib)},
		{"Cloud Run: ingest", float64(b.Ingests) * machine(1, 1)},
		{"Cloud Run: workers", w * machine(1, memory)},
		{"Cloud Trace: kept spans", Prices.Trace.of(l.Spans * l.Kept * month / 1e6)},
		{"Cloud Logging: kept records", Prices.Logging.of(l.Spans * l.Records * l.KeptRecords * l.RecordBytes * month / gib)},
		// Status lines, their metrics (a distribution is 80 B a point), and 17 conditions.
		{"Watching it", Prices.Logging.USD*w*700*month/60/gib + Prices.Metrics.of(figures*w*80*month/60/mib) + Prices.Condition.of(17)},
	}
	return b
}

// payload returns bytes and messages a second on the payload topic, spans and records.
func (l Load) payload() (bytes, messages float64) {
	messages = l.Spans/l.PerPayload + l.Spans*l.Records/l.PerPayload
	data := (l.Spans*l.Bytes + l.Spans*l.Records*l.RecordBytes) / l.Gzip
	return data + messages*(40+150), messages // id and time, and the attributes of a message
}

// All is the bill of an app that sends everything to Google itself.
func All(l Load) Bill {
	return Bill{Items: []Item{
		{"Cloud Trace: all spans", Prices.Trace.of(l.Spans * month / 1e6)},
		{"Cloud Logging: all records", Prices.Logging.of(l.Spans * l.Records * l.RecordBytes * month / gib)},
	}}
}

// Sidecars is the bill with a collector beside each instance of the apps, that keeps the same share. It sees its own instance's spans
// alone, so it decides by chance: errors and slow traces are kept no more often than others.
func Sidecars(l Load) Bill {
	return Bill{Items: []Item{
		{"Cloud Run: sidecars", l.Spans / l.PerAppInstance * machine(0.1, 0.25)},
		{"Cloud Trace: kept spans", Prices.Trace.of(l.Spans * l.Kept * month / 1e6)},
		{"Cloud Logging: kept records", Prices.Logging.of(l.Spans * l.Records * l.KeptRecords * l.RecordBytes * month / gib)},
	}}
}

// machine is a month of one instance.
func machine(cpu, memory float64) float64 {
	return (Prices.CPU.USD*cpu + Prices.Memory.USD*memory) * month
}

func ceil(v float64) int { return int(math.Ceil(v - 1e-9)) }

// Rates are those of the documentation.
var Rates = []float64{1_000, 10_000, 100_000}

// Tables are those of docs/costs.md: prices, a month with Tailweir, and the comparison.
func Tables() (prices, bill, compared string) {
	var b strings.Builder
	b.WriteString("| what | price | free in a month | source, November 2026 |\n|---|---|---|---|\n")
	p := Prices
	for _, p := range []Price{p.Throughput, p.Retention, p.CPU, p.Memory, p.Trace, p.Logging, p.Metrics, p.Condition} {
		free, mark := "–", ""
		if p.Free > 0 {
			free = fmt.Sprintf("%.4g %s", p.Free, p.Unit)
		}
		if !p.Confirmed {
			mark = "; **UNCONFIRMED**"
		}
		fmt.Fprintf(&b, "| %s | $%s a %s | %s | <%s>%s |\n", p.What, strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.6f", p.USD), "0"), "."), p.Unit, free, p.Source, mark)
	}
	prices = b.String()

	b.Reset()
	b.WriteString("| $ a month |")
	for _, r := range Rates {
		fmt.Fprintf(&b, " %s spans/s |", thousands(r))
	}
	b.WriteString("\n|---|---|---|---|\n")
	var bills []Bill
	for _, r := range Rates {
		bills = append(bills, Tailweir(Typical(r)))
	}
	for i, item := range bills[0].Items {
		fmt.Fprintf(&b, "| %s |", item.What)
		for _, bill := range bills {
			fmt.Fprintf(&b, " %s |", thousands(bill.Items[i].USD))
		}
		b.WriteString("\n")
	}
	row := func(name string, of func(Load) string) {
		fmt.Fprintf(&b, "| %s |", name)
		for _, r := range Rates {
			fmt.Fprintf(&b, " %s |", of(Typical(r)))
		}
		b.WriteString("\n")
	}
	total := func(f func(Load) Bill) func(Load) string {
		return func(l Load) string { return thousands(f(l).Total()) }
	}
	row("**all of it**", total(Tailweir))
	row("instances of ingest, workers", func(l Load) string {
		b := Tailweir(l)
		return fmt.Sprintf("%d, %d", b.Ingests, b.Workers)
	})
	bill = b.String()

	b.Reset()
	b.WriteString("| $ a month |")
	for _, r := range Rates {
		fmt.Fprintf(&b, " %s spans/s |", thousands(r))
	}
	b.WriteString("\n|---|---|---|---|\n")
	row("everything stored, no sampling", total(All))
	row("Tailweir", total(Tailweir))
	row("Tailweir, apps send gzip, 5 : 1", func(l Load) string {
		l.Gzip = 5
		return thousands(Tailweir(l).Total())
	})
	row("a collector beside each instance of an app, the same share by chance", total(Sidecars))
	compared = b.String()
	return prices, bill, compared
}

// thousands writes a whole number with separators.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
