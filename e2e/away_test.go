package e2e_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	awayRate  = 10 // requests a second to each app: one span and one log record each
	awayFile  = "away.jsonl"
	awayQuiet = 25 * time.Second // nothing new for so long after a fault: what is missing is lost
	awayLimit = 100 * time.Second
)

var awayTimes = []time.Duration{time.Second, 10 * time.Second, time.Minute}

// recommended is what docs/sdks.md recommends to lose least, by environment variables alone: more room in the queues, batches so
// small that one given up costs little, and more time for an export, since the retries of some SDKs end with it.
var recommended = map[string][]string{
	"node":   batches("16", "OTEL_EXPORTER_OTLP_TIMEOUT=30000", "60000"),
	"kotlin": batches("16", "OTEL_EXPORTER_OTLP_TIMEOUT=30000", "60000"),
	"python": batches("64", "OTEL_EXPORTER_OTLP_TIMEOUT=70", "90000"),                                                // seconds, in this SDK alone
	"go":     append(batches("64", "OTEL_EXPORTER_OTLP_TIMEOUT=30000", "90000"), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"), // its HTTP exporter gives up on a refused connection at once
}

func batches(size, timeout, export string) []string {
	env := []string{timeout}
	for _, of := range []string{"OTEL_BSP_", "OTEL_BLRP_"} {
		env = append(env, of+"MAX_QUEUE_SIZE=16384", of+"MAX_EXPORT_BATCH_SIZE="+size, of+"EXPORT_TIMEOUT="+export)
	}
	return env
}

// outage is one measured cell: what one app did while the ingest was away in one way for one time.
type outage struct {
	App      string  `json:"app"`
	Settings string  `json:"settings"` // "default" or "recommended"
	Fault    string  `json:"fault"`
	Seconds  float64 `json:"seconds"`
	Sent     int     `json:"sent"` // requests, so spans, and log records
	Spans    int     `json:"lost_spans"`
	Records  int     `json:"lost_records"`
	Repeated int     `json:"repeated_records"`
	From     float64 `json:"lost_from"` // of the requests whose span or record is lost: seconds since the fault began
	To       float64 `json:"lost_to"`
	Before   float64 `json:"p99_before_ms"` // of requests to the app
	During   float64 `json:"p99_during_ms"`
	Failed   int     `json:"failed_requests"`
	Memory   float64 `json:"memory_mb"` // resident before the fault
	Grown    float64 `json:"grown_mb"`  // at most since
	Lines    int     `json:"log_lines"` // that the app wrote since
	Says     string  `json:"says"`      // the first of them
}

// TestAway measures what apps do when the ingest is away. In CI: Node and Go for a second of 503, and nothing may be lost.
// TAILWEIR_AWAY=full measures everything and writes docs/away.md; -run 'TestAway/cells/hang/default/node' and the like some of it.
func TestAway(t *testing.T) {
	t.Parallel()
	l, backend := keepAll(t)
	if os.Getenv("TAILWEIR_AWAY") == "" {
		for _, app := range []string{"node", "go"} {
			t.Run(app, func(t *testing.T) {
				t.Parallel()
				for _, o := range measure(t, l, backend, languageOf(app), "default", "503", awayTimes[:1]) {
					if o.Spans > 0 || o.Records > 0 || o.Failed > 0 {
						t.Errorf("%+v: something is lost", o)
					}
				}
			})
		}
		return
	}
	jobs, _ := strconv.Atoi(cmp.Or(os.Getenv("TAILWEIR_AWAY_JOBS"), "12"))
	room, mu := make(chan struct{}, jobs), sync.Mutex{}
	t.Run("cells", func(t *testing.T) {
		for _, fault := range faults {
			for _, settings := range []string{"default", "recommended"} {
				for _, lang := range languages {
					t.Run(fault+"/"+settings+"/"+lang.name, func(t *testing.T) {
						t.Parallel()
						room <- struct{}{}
						defer func() { <-room }()
						results := measure(t, l, backend, lang, settings, fault, awayTimes)
						mu.Lock()
						defer mu.Unlock()
						record(t, results)
					})
				}
			}
		}
	})
}

// measure runs one app through outages of one kind, one after another, each after the one before has settled.
func measure(t *testing.T, l *local, backend *sink, lang language, settings, fault string, times []time.Duration) (results []outage) {
	t.Helper()
	door, authority := newFaulty(t, relayTo(t, l.otlp), fault == "tls")
	endpoint, env, lookup := "http://"+door.addr, []string{}, (*names)(nil)
	if settings == "recommended" {
		env = append(env, recommended[lang.name]...)
	}
	if fault == "tls" {
		host, port := split(door.addr)
		lookup = newNames(t, host)
		endpoint = "https://ingest.test:" + port
		env = append(env, "OTEL_EXPORTER_OTLP_CERTIFICATE="+authority)
	}
	if fault == "dns" {
		host, port := split(door.addr)
		lookup = newNames(t, host)
		endpoint = "http://ingest.test:" + port
	}
	if lookup != nil {
		run := lang.run
		lang.run = func(t *testing.T) ([]string, string, []string) {
			env, program, args := run(t)
			program, args = lookup.around(program, args)
			return env, program, args
		}
	}
	s := startShop(t, lang, strings.Join([]string{lang.name, settings, fault}, " "), endpoint, "http/protobuf", env...)
	traffic := newTraffic(t, s)
	defer traffic.stop()
	traffic.run(10 * time.Second) // warm, and at least one export done
	traffic.pause()
	before := traffic.take()
	if lost := backend.settle(t, before); lost.spans+lost.records > 0 || slices.ContainsFunc(before, func(a asked) bool { return !a.ok }) {
		t.Fatalf("without any fault, of %d requests: %+v", len(before), lost)
	}
	traffic.run(6 * time.Second)
	for _, d := range times {
		o := outage{App: lang.name, Settings: settings, Fault: fault, Seconds: d.Seconds(), Memory: s.memory()}
		o.Before = p99(traffic.since(time.Now().Add(-5 * time.Second)))
		written := s.said(nil)
		peak := s.watchMemory()
		began := time.Now()
		if fault == "dns" {
			lookup.set(t, false)
		}
		door.set(fault)
		traffic.run(d)
		o.During = p99(traffic.since(began))
		if fault == "dns" {
			lookup.set(t, true)
		}
		door.set("")
		traffic.run(5 * time.Second)
		traffic.pause()
		// What was queued before the fault can be lost in it, too: count from the last outage's end on.
		sent := traffic.take()
		lost := backend.settle(t, sent)
		o.Sent = len(sent)
		for _, r := range sent {
			if !r.ok {
				o.Failed++
			}
		}
		o.Spans, o.Records, o.Repeated = lost.spans, lost.records, lost.repeated
		if len(lost.at) > 0 {
			o.From, o.To = lost.at[0].Sub(began).Seconds(), lost.at[len(lost.at)-1].Sub(began).Seconds()
		}
		o.Grown = max(0, peak()-o.Memory)
		said := s.said(written)
		if o.Lines = len(said); o.Lines > 0 {
			o.Says = said[0]
		}
		results = append(results, o)
		traffic.run(6 * time.Second)
	}
	return results
}

func split(addr string) (host, port string) {
	host, port, _ = strings.Cut(addr, ":")
	return host, port
}

// asked is one request of traffic.
type asked struct {
	trace string
	at    time.Time
	took  time.Duration
	ok    bool
}

// traffic asks a service awayRate times a second while it runs.
type traffic struct {
	s      *shop
	cancel context.CancelFunc
	ctx    context.Context
	going  chan bool

	mu   sync.Mutex
	all  []asked // since the last take
	seen []asked // all
	wait sync.WaitGroup
}

func newTraffic(t *testing.T, s *shop) *traffic {
	w := &traffic{s: s, going: make(chan bool)}
	w.ctx, w.cancel = context.WithCancel(t.Context())
	go w.loop()
	return w
}

func (w *traffic) loop() {
	tick := time.NewTicker(time.Second / awayRate)
	defer tick.Stop()
	going := false
	for {
		select {
		case <-w.ctx.Done():
			return
		case going = <-w.going:
		case <-tick.C:
			if going {
				w.wait.Add(1)
				go w.ask()
			}
		}
	}
}

func (w *traffic) ask() {
	defer w.wait.Done()
	c := newCaller()
	request, _ := http.NewRequestWithContext(w.ctx, http.MethodGet, w.s.url+"/order/plain", nil)
	request.Header.Set("traceparent", "00-"+c.trace+"-"+c.span+"-01")
	a := asked{trace: c.trace, at: time.Now()}
	if answer, err := http.DefaultClient.Do(request); err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		a.ok = err == nil && answer.StatusCode == http.StatusOK
	}
	a.took = time.Since(a.at)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all, w.seen = append(w.all, a), append(w.seen, a)
}

func (w *traffic) run(d time.Duration) {
	w.going <- true
	select {
	case <-time.After(d):
	case <-w.ctx.Done():
	}
}

func (w *traffic) pause() {
	w.going <- false
	w.wait.Wait()
}

func (w *traffic) stop() {
	w.cancel()
	w.wait.Wait()
}

func (w *traffic) take() []asked {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.all
	w.all = nil
	return all
}

func (w *traffic) since(from time.Time) (took []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.seen {
		if a.at.After(from) {
			took = append(took, a.took)
		}
	}
	return took
}

func p99(took []time.Duration) float64 {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100].Seconds() * 1000
}

// losses is what has not come of the requests that were answered.
type losses struct {
	spans, records, repeated int
	at                       []time.Time // of the requests, in order
}

// settle waits until all is there, or nothing more comes.
func (s *sink) settle(t *testing.T, sent []asked) (l losses) {
	t.Helper()
	last, news := losses{}, time.Now()
	for begin := time.Now(); time.Since(begin) < awayLimit; time.Sleep(time.Second) {
		l = losses{}
		for _, a := range sent {
			if !a.ok {
				continue
			}
			got := s.trail(a.trace)
			if len(got.spans) == 0 {
				l.spans++
			}
			if len(got.records) == 0 {
				l.records++
			}
			l.repeated += max(0, len(got.records)-1)
			if len(got.spans) == 0 || len(got.records) == 0 {
				l.at = append(l.at, a.at)
			}
		}
		if l.spans+l.records == 0 {
			break
		}
		if l.spans != last.spans || l.records != last.records {
			last, news = l, time.Now()
		}
		if time.Since(news) > awayQuiet {
			break
		}
	}
	slices.SortFunc(l.at, time.Time.Compare)
	return l
}

// said is what the process wrote beside its own log and after earlier lines, its standard error first.
func (s *shop) said(earlier []string) (lines []string) {
	for _, line := range append(s.err.lines(), s.out.lines()...) {
		own := strings.Contains(line, " serves plain") || strings.HasPrefix(line, "listening")
		if !own && !slices.Contains(earlier, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// memory is the resident memory of the process in MB.
func (s *shop) memory() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1000
		}
	}
	return 0
}

// watchMemory looks each half second until the returned function is called, which says what was the most.
func (s *shop) watchMemory() func() float64 {
	stop, most := make(chan struct{}), make(chan float64)
	go func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		m := 0.0
		for {
			select {
			case <-stop:
				most <- m
				return
			case <-tick.C:
				m = max(m, s.memory())
			}
		}
	}()
	return func() float64 { close(stop); return <-most }
}

// measured reads the cells that are on record, by app, settings, fault and time.
func measured(t *testing.T) map[string]outage {
	t.Helper()
	cells := map[string]outage{}
	for _, line := range linesOf(t, awayFile) {
		var o outage
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatalf("%s: %v: %s", awayFile, err, line)
		}
		cells[o.key()] = o
	}
	return cells
}

func (o outage) key() string {
	return fmt.Sprintf("%02d %s %s %02.0f", slices.Index(faults, o.Fault), o.App, o.Settings, o.Seconds)
}

// rounded is the cell as the file has it: hundredths are noise.
func (o outage) rounded() outage {
	for _, v := range []*float64{&o.From, &o.To, &o.Before, &o.During, &o.Memory, &o.Grown} {
		*v = math.Round(*v*10) / 10
	}
	return o
}

// record puts cells in place of older ones and draws the table anew.
func record(t *testing.T, results []outage) {
	t.Helper()
	cells := measured(t)
	for _, o := range results {
		cells[o.key()] = o.rounded()
	}
	file, err := os.Create(awayFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	for _, key := range slices.Sorted(maps.Keys(cells)) {
		line, err := json.Marshal(cells[key])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "%s\n", line)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	before, _, after := awayPage(t)
	if err := os.WriteFile(awayDoc, []byte(before+awayTables(cells)+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
