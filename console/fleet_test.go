package console_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tailweir/console"
)

// inFleet is a worker of three, as its console shows it.
func inFleet(leader string) console.Fleet {
	return console.Fleet{Mode: "pubsub", FleetMember: &console.FleetMember{
		Name: "00000000000000a1", Phase: "holding", Leader: leader, Leading: leader == "00000000000000a1", LedMS: 61_000,
		Epoch: 7, Active: "00000000000000f1", Wanted: "00000000000000f1",
		Members: []console.Member{
			{Name: "00000000000000a1", BehindMS: -1},
			{Name: "00000000000000b2", BehindMS: 340, SilentMS: 1200, LagMS: 3500},
			{Name: "<i>third</i>", BehindMS: -1},
		},
		Fences: 2, FencedMS: 9500, Terms: 3, Pressed: 77,
	}}
}

// section is what the page has in the card with this id.
func section(t *testing.T, page, id string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, `id="`+id+`"`)
	if !ok {
		t.Fatalf("the page has no %s", id)
	}
	text, _, _ := strings.Cut(rest, "</section>")
	return text
}

func TestFleetSection(t *testing.T) {
	const me, other = "00000000000000a1", "00000000000000b2"
	for name, tt := range map[string]struct {
		fleet      console.Fleet
		change     func(*console.FleetMember)
		want, lack []string
	}{
		"alone":      {fleet: console.Fleet{Mode: "off"}, want: []string{"One worker, decisions in this process."}, lack: []string{"<table>", "leads"}},
		"leads":      {fleet: inFleet(me), want: []string{"has led for <b>61.0 s</b>", "watermark <b>740 ms</b> behind", "decided by pressure <b>77</b>", ">340 ms<", ">1.20 s<", ">3.50 s<"}, lack: []string{`id="anomalies"`, "configured here"}},
		"follows":    {fleet: inFleet(other), want: []string{`led by <span class="id">` + other, "2, 9.50 s in all", "&lt;i&gt;third&lt;/i&gt;", `pill ok">holding`}, lack: []string{"watermark", "decided by pressure", "<i>third"}},
		"unknown":    {fleet: inFleet(""), want: []string{"nobody is known to lead"}},
		"fenced":     {fleet: inFleet(other), change: func(f *console.FleetMember) { f.Phase = "fenced" }, want: []string{`pill bad">fenced`}},
		"other set":  {fleet: inFleet(other), change: func(f *console.FleetMember) { f.Wanted = "00000000000000f2" }, want: []string{`configured here: <span class="id">00000000000000f2`}},
		"anomalies":  {fleet: inFleet(me), change: func(f *console.FleetMember) { f.Anomalies = map[string]int64{"hole": 2, "broken_chain": 1} }, want: []string{"must be: broken_chain 1; hole 2;"}},
		"no members": {fleet: inFleet(me), change: func(f *console.FleetMember) { f.Members = nil }, want: []string{"No worker is listed."}},
	} {
		t.Run(name, func(t *testing.T) {
			source := example(t)
			if tt.change != nil {
				tt.change(tt.fleet.FleetMember)
			}
			source.stats.Fleet = tt.fleet
			got := section(t, ask(t, console.New(source, console.Config{}), "GET", "/", "localhost").Body.String(), "fleet")
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("lacks %q:\n%s", want, got)
				}
			}
			for _, not := range tt.lack {
				if strings.Contains(got, not) {
					t.Errorf("has %q:\n%s", not, got)
				}
			}
		})
	}
}

// A worker that follows does not show an empty window as if nothing waited.
func TestWindowIsTheLeaders(t *testing.T) {
	source := example(t)
	source.pending = nil
	source.stats.Fleet = inFleet("00000000000000b2")
	page := ask(t, console.New(source, console.Config{}), "GET", "/", "localhost").Body.String()
	if got := section(t, page, "pending"); !strings.Contains(got, `<span class="id">00000000000000b2</span>`) || strings.Contains(got, "No trace waits") {
		t.Errorf("pending: %s", got)
	}
	if got := section(t, page, "window"); strings.Contains(got, "Traces undecided") || strings.Contains(got, "event time") || !strings.Contains(got, "Payloads held") {
		t.Errorf("window: %s", got)
	}
}

func TestFleetRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := example(t)
		source.stats.Fleet = inFleet("00000000000000b2")
		c := console.New(source, console.Config{})
		ask(t, c, "GET", "/", "localhost")
		time.Sleep(2 * time.Second)
		source.stats.Fleet.LogRead, source.stats.Fleet.FragmentsSent = 5, 2468
		got := section(t, ask(t, c, "GET", "/", "localhost").Body.String(), "fleet")
		if !strings.Contains(got, "<b>2.5</b> log messages/s") || !strings.Contains(got, "facts on <b>1,234</b> fragments/s") {
			t.Errorf("5 messages and 2468 fragments in 2 s: %s", got)
		}
	})
}

func TestFleetJSON(t *testing.T) {
	source := example(t)
	source.stats.Fleet = inFleet("00000000000000b2")
	var got struct{ Fleet map[string]any }
	if err := json.Unmarshal(ask(t, console.New(source, console.Config{}), "GET", "/api/stats", "localhost").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"mode": "pubsub", "phase": "holding", "leading": false, "fences": 2.0, "fenced_ms": 9500.0, "decisions": 0.0}
	for key := range got.Fleet {
		if _, asked := want[key]; !asked {
			delete(got.Fleet, key)
		}
	}
	if diff := cmp.Diff(want, got.Fleet); diff != "" {
		t.Errorf("fleet (-want +got):\n%s", diff)
	}
}
