package logging

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"tailweir/otlp"
)

// record is a log record as it is given to both.
type record struct {
	name     string
	payload  []byte // an export request of it alone
	decision decision
	logs     plog.Logs // the payload, decoded
}

// decision is what was decided of the record's trace.
type decision uint8

const (
	undecided decision = iota
	kept
	dropped
)

func newRecord(name string, payload []byte, d decision) record {
	logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(payload)
	must(err)
	return record{name, payload, d, logs}
}

func (r record) place() place {
	rl := r.logs.ResourceLogs().At(0)
	return place{rl, rl.ScopeLogs().At(0), rl.ScopeLogs().At(0).LogRecords().At(0)}
}

// attribute is the record's as text, "" for none.
func (r record) attribute(key string) string { return textOf(r.place().record.Attributes(), key) }

// str is the record's attribute if that is a text.
func (r record) str(key string) string {
	v, _ := r.place().record.Attributes().Get(key)
	if v.Type() != pcommon.ValueTypeStr {
		return ""
	}
	return v.Str()
}

func (r record) resource(key string) string {
	return textOf(r.place().resource.Resource().Attributes(), key)
}

func textOf(m pcommon.Map, key string) string {
	v, ok := m.Get(key)
	if !ok {
		return ""
	}
	return v.AsString()
}

// makeRecord makes a record with the traits, else an ordinary one of now.
func makeRecord(now time.Time, d decision, traits ...trait) record {
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	must(rl.Resource().Attributes().FromRaw(platforms["task"]))
	sl := rl.ScopeLogs().AppendEmpty()
	p := place{rl, sl, sl.LogRecords().AppendEmpty()}
	p.record.SetTimestamp(pcommon.NewTimestampFromTime(now))
	p.record.SetSeverityNumber(plog.SeverityNumberInfo)
	p.record.Body().SetStr("hello")
	var names []string
	for _, t := range traits {
		t.set(p)
		names = append(names, t.name)
	}
	payload, err := (&plog.ProtoMarshaler{}).MarshalLogs(logs)
	must(err)
	return newRecord(strings.Join(names, ", "), bytes.ReplaceAll(payload, []byte(secondTwin), []byte(twin)), d)
}

// pdata does not make maps with a key twice, but reads them off the wire.
const (
	twin       = "twin1"
	secondTwin = "twin2"
)

// cases are every trait alone, and the decisions on a trace.
func cases(now time.Time) (all []record) {
	for _, group := range groups(now) {
		for _, t := range group {
			all = append(all, makeRecord(now, undecided, t))
		}
	}
	for _, flags := range []plog.LogRecordFlags{0, 1} {
		for d, name := range map[decision]string{kept: "kept", dropped: "dropped"} {
			all = append(all, makeRecord(now, d, trait{fmt.Sprintf("of a %s trace, flags %d", name, flags), func(p place) { withTrace(p, flags) }}))
		}
	}
	return all
}

// random are n mixtures of traits.
func random(now time.Time, seed uint64, n int) (all []record) {
	rng := rand.New(rand.NewPCG(seed, 0))
	choices := groups(now)
	for range n {
		var traits []trait
		for _, group := range choices {
			if rng.IntN(3) == 0 {
				traits = append(traits, group[rng.IntN(len(group))])
			}
		}
		all = append(all, makeRecord(now, decision(rng.IntN(3)), traits...))
	}
	return all
}

// recorded are the records that e2e/record has recorded, moved to now: neither is to find them too old.
func recorded(t *testing.T, now time.Time) (all []record) {
	t.Helper()
	for _, sdk := range []string{"node", "go", "java"} {
		b, err := os.ReadFile("../../exporter/testdata/recorded/" + sdk + "-logs.pb")
		if err != nil {
			t.Fatal(err)
		}
		var p otlp.Payload
		if err := p.Scan(otlp.Logs, b); err != nil {
			t.Fatal(err)
		}
		for i := range int32(p.Len()) {
			one := newRecord(fmt.Sprintf("%s %d", sdk, i), otlp.Select(&p, func(item int32) bool { return item == i }), undecided)
			all = append(all, one.moved(now))
		}
	}
	return all
}

func (r record) moved(now time.Time) record {
	l, at := r.place().record, pcommon.NewTimestampFromTime(now)
	if l.Timestamp() != 0 {
		l.SetTimestamp(at)
	}
	l.SetObservedTimestamp(at + 1000)
	payload, err := (&plog.ProtoMarshaler{}).MarshalLogs(r.logs)
	must(err)
	return newRecord(r.name, payload, r.decision)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func byName(traits []trait) []trait {
	slices.SortFunc(traits, func(a, b trait) int { return strings.Compare(a.name, b.name) })
	return traits
}

// must is for what can only fail by a fault of the test's own.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
