package sampler

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"tailweir/otlp"
)

// field is a length-delimited protobuf field of the parts.
func field(number byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(body))), body...)
}

func fixed64(number byte, v uint64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{number<<3 | 1}, v)
}

// order is how a sender writes the two fields of an attribute: SDKs write the key first, the collector the value.
type order bool

const (
	keyFirst   order = true
	valueFirst order = false
)

func (o order) attribute(number byte, key string, value []byte) []byte {
	kv := [][]byte{field(1, []byte(key)), field(2, value)}
	if o == valueFirst {
		slices.Reverse(kv)
	}
	return field(number, kv...)
}

func (o order) text(number byte, key, value string) []byte {
	return o.attribute(number, key, field(1, []byte(value)))
}

// typicalPayload is 100 spans of 25 traces under 4 resources of 8 attributes, 12 attributes each, about 600 B per span.
func typicalPayload(b *testing.B, o order) *otlp.Payload {
	b.Helper()
	var raw []byte
	for r := range 4 {
		resource := [][]byte{o.text(1, "service.name", fmt.Sprintf("service-%d", r))}
		for i := range 7 {
			resource = append(resource, o.text(1, fmt.Sprintf("host.property.%d", i), "some-value-of-the-host"))
		}
		var spans [][]byte
		for i := range 25 {
			spans = append(spans, typicalSpan(byte(r), byte(i), o))
		}
		raw = append(raw, field(1, field(1, resource...), field(2, spans...))...)
	}
	pl := new(otlp.Payload)
	if err := pl.Scan(otlp.Traces, raw); err != nil {
		b.Fatal(err)
	}
	return pl
}

func typicalSpan(r, i byte, o order) []byte {
	parts := [][]byte{
		field(1, make([]byte, 15), []byte{i + 1}), field(2, []byte{1, r, i, 0, 0, 0, 0, 0}), field(4, []byte{2, r, i, 0, 0, 0, 0, 0}),
		field(5, []byte("GET /api/v1/things/{id}")), fixed64(7, 1_700_000_000_000_000_000+uint64(i)), fixed64(8, 1_700_000_000_100_000_000),
	}
	for a := range 9 {
		parts = append(parts, o.text(9, fmt.Sprintf("http.request.attribute.%d", a), "a value of common length"))
	}
	parts = append(parts,
		o.text(9, "http.route", fmt.Sprintf("/api/v1/things-%d", i%5)),
		o.attribute(9, "http.response.status_code", []byte{3 << 3, 0xc8, 1}), // int 200
		o.attribute(9, "retried", []byte{2 << 3, 0}),                         // bool false
	)
	return field(2, parts...)
}

func benchmarkFold(b *testing.B, p *Policies, order order) {
	pl := typicalPayload(b, order)
	o := p.NewObserver()
	fold := func() {
		o.Reset(pl)
		for _, g := range pl.Groups() {
			f := o.Fold(g)
			if f.Spans == 0 {
				b.Fatal("no spans")
			}
		}
	}
	fold()
	b.ReportAllocs()
	for b.Loop() {
		fold()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(pl.Len()), "ns/span")
}

func BenchmarkFold(b *testing.B) {
	b.Run("default", func(b *testing.B) { benchmarkFold(b, Default(), keyFirst) })
	for _, bench := range []struct{ name, policy string }{
		{"status_code", "type: status_code, status_code: {status_codes: [ERROR]}"},
		{"string_attribute", "type: string_attribute, string_attribute: {key: http.route, values: [/none, /other]}"},
		{"string_attribute_regex", "type: string_attribute, string_attribute: {key: http.route, values: ['^/none.*'], enabled_regex_matching: true}"},
		{"string_attribute_absent", "type: string_attribute, string_attribute: {key: absent, values: [x]}"},
		{"numeric_attribute", "type: numeric_attribute, numeric_attribute: {key: http.response.status_code, min_value: 500, max_value: 599}"},
		{"boolean_attribute", "type: boolean_attribute, boolean_attribute: {key: retried, value: true}"},
		{"three_keys", `type: and, and: {and_sub_policy: [
			{type: string_attribute, string_attribute: {key: http.route, values: [/none]}},
			{type: numeric_attribute, numeric_attribute: {key: http.response.status_code, min_value: 500}},
			{type: boolean_attribute, boolean_attribute: {key: retried, value: true}}]}`},
	} {
		b.Run(bench.name+"/sdk", func(b *testing.B) { benchmarkFold(b, mustParse(b, one(bench.policy)), keyFirst) })
		b.Run(bench.name+"/collector", func(b *testing.B) { benchmarkFold(b, mustParse(b, one(bench.policy)), valueFirst) })
	}
}

// Folding allocates nothing once an observer has seen as many resources and the values in use.
func TestFoldAllocatesNothing(t *testing.T) {
	for _, policy := range []string{
		"type: string_attribute, string_attribute: {key: k, values: ['^/none.*'], enabled_regex_matching: true}",
		"type: string_attribute, string_attribute: {key: k, values: [x]}",
		"type: status_code, status_code: {status_codes: [ERROR]}",
	} {
		o := mustParse(t, one(policy)).NewObserver()
		var pl otlp.Payload
		if err := pl.Scan(otlp.Traces, encode(t, []sample{{trace: traceA, attributes: map[string]any{"k": "v"}, resource: map[string]any{"k": "w"}}})); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() {
			o.Reset(&pl)
			for _, g := range pl.Groups() {
				o.Fold(g)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations per payload, want 0", policy, n)
		}
	}
}
