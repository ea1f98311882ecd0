package costs

import (
	"math"
	"os"
	"strings"
	"testing"

	"tailweir/golden"
)

// The tables of the documentation are this program's. -update writes them anew.
func TestDocumentation(t *testing.T) {
	const doc = "../../docs/costs.md"
	b, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	prices, bill, compared := Tables()
	text := string(b)
	for name, table := range map[string]string{"prices": prices, "bill": bill, "compared": compared} {
		begin := "<!-- bench costs: " + name + " -->\n"
		before, rest, found := strings.Cut(text, begin)
		_, after, ended := strings.Cut(rest, "<!-- end -->\n")
		if !found || !ended {
			t.Fatalf("%s lacks %q and its end", doc, begin)
		}
		text = before + begin + table + "<!-- end -->\n" + after
	}
	golden.Check(t, doc, text)
}

// By hand: 10,000 spans/s.
func TestTenThousand(t *testing.T) {
	b := Tailweir(Typical(10_000))
	for i, want := range []struct {
		what string
		usd  float64
	}{
		// 10,000 × 540 B + 2,500 × 500 B + 312.5 messages × 190 B = 6.709 MB/s; × 2 × 2,592,000 s = 31.63 TiB, less 10 GiB.
		{"Pub/Sub: payloads, in and out", 1264.9},
		// 5,263 fragments × 30 + 312.5 × 13 + 2 × 216 = 162.4 kB/s twice; 526 × 25 + 310 = 13.5 kB/s three times: 0.86 TiB.
		{"Pub/Sub: facts and log", 34.4},
		{"Pub/Sub: payloads kept for a day", 145.8},
		{"Cloud Run: ingest", 51.84},
		{"Cloud Run: workers", 2 * 57.02},
		// 1,200 spans/s are 3,110 million, less 2.5.
		{"Cloud Trace: kept spans", 621.6},
		// 375 records/s × 500 B are 452.6 GiB, less 50.
		{"Cloud Logging: kept records", 201.3},
		{"Watching it", 1.7},
	} {
		if got := b.Items[i]; got.What != want.what || math.Abs(got.USD-want.usd) > 0.01*want.usd+0.06 {
			t.Errorf("%s: %.2f, want %s: %.2f", got.What, got.USD, want.what, want.usd)
		}
	}
	if b.Workers != 2 || b.Ingests != 1 {
		t.Errorf("%d workers, %d ingests", b.Workers, b.Ingests)
	}
}

func TestBills(t *testing.T) {
	last := 0.0
	for _, rate := range []float64{0, 1, 100, 1e3, 1e4, 1e5, 1e6} {
		l := Typical(rate)
		b := Tailweir(l)
		for _, i := range b.Items {
			if i.USD < 0 || math.IsNaN(i.USD) {
				t.Errorf("%g spans/s: %s costs %g", rate, i.What, i.USD)
			}
		}
		if b.Total() < last {
			t.Errorf("%g spans/s cost less than fewer: %g", rate, b.Total())
		}
		last = b.Total()
		if rate >= 1e4 && b.Total() >= All(l).Total() {
			t.Errorf("%g spans/s: %g with, %g without", rate, b.Total(), All(l).Total())
		}
		// Workers bear the loss of one.
		if left := float64(b.Workers-1) * use / workerCPU; left < rate {
			t.Errorf("%g spans/s: without one worker there is CPU for %g", rate, left)
		}
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999.4: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(v); got != want {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
	}
}
