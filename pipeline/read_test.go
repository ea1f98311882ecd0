package pipeline

import (
	"testing"
	"time"

	"tailweir/otlp"
	"tailweir/sampler"
)

// Whatever bytes and attributes a message has, reading it ends with an error or with fragments that account for every
// item, and the payload it holds can be encoded again.
func FuzzRead(f *testing.F) {
	f.Add(traces(span{trace: 1, id: 1, root: true}, span{trace: 2, id: 2}), uint8(otlp.Traces), "")
	f.Add(logs(1, 0), uint8(otlp.Logs), "")
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"), uint8(otlp.Traces), "gzip")
	f.Add([]byte{0x1f, 0x8b}, uint8(otlp.Traces), "gzip")
	rules := []LogRule{{MinSeverity: 1, MaxSeverity: 12, Keep: LogsNever}, {MinSeverity: 13, Keep: LogsAtOnce}, {Attribute: "a", Keep: LogsWithTrace}}
	r, set := &reader{max: 1 << 20, classes: newClasses(rules, LogsAll)}, sampler.Default()
	f.Fuzz(func(t *testing.T, data []byte, signal uint8, encoding string) {
		got, err := r.read(set, Delivery{Data: data, Publish: time.Unix(1, 0), Attributes: map[string]string{
			otlp.AttrType: otlp.Signal(signal).EventType(), otlp.AttrContentEncoding: encoding,
		}})
		if err != nil {
			return
		}
		items := 0
		for _, g := range got.fragments {
			n, _ := got.index.SizeGroup(g.first)
			items += n
			d := departure{trace: g.trace, fragments: []*fragment{{msg: &message{}, index: got.index, first: g.first, count: g.count}}}
			b := encode(got.index.Signal(), []departure{d}, true)
			if signal == uint8(otlp.Logs) && b.Items != n || b.Items > n || b.Items == 0 || len(b.Payload) != b.Parts[0].Len {
				t.Errorf("encoded %d items in %d of %d bytes, want %d, or fewer if spans repeat", b.Items, b.Parts[0].Len, len(b.Payload), n)
			}
		}
		if items != got.items() {
			t.Errorf("fragments hold %d items, the payload %d", items, got.items())
		}
	})
}
