package sink

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/otlp"
)

// The product writes what the sink reads.
func TestKept(t *testing.T) {
	body := protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), []byte("a body"))
	other := otlp.BoolAttributeField(otlp.Logs, "shop.kept", false)
	for _, tt := range []struct {
		name   string
		record []byte
		want   *bool
	}{
		{"nothing said", slices.Concat(body, other), nil},
		{"kept", slices.Concat(body, other, otlp.BoolAttributeField(otlp.Logs, attrKept, true)), new(true)},
		{"dropped", slices.Concat(body, otlp.BoolAttributeField(otlp.Logs, attrKept, false), other), new(false)},
	} {
		if diff := cmp.Diff(tt.want, kept(tt.record)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestUncounted(t *testing.T) {
	trace := []byte{15: 0, 9: 0x80} // randomness 8
	state := func(s string) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), []byte(s))
	}
	id, name := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), trace), []byte{5<<3 | 2, 1, 'n'}
	for _, tt := range []struct {
		name, state string
		ok          bool
	}{
		{"certain", "ot=th:0", true},
		{"as its randomness", "ot=th:8", true},
		{"beyond its randomness", "ot=th:80000000000001", false},
		{"none", "", false},
		{"a randomness", "ot=rv:00000000000001", false},
		{"too long", "ot=th:000000000000000", false},
		{"no number", "ot=th:x", false},
		{"another beside it", "ot=th:0,a=b", false},
		{"malformed", "ot=th:0;", false},
	} {
		span := slices.Concat(id, name)
		want := span
		if tt.state != "" {
			span = slices.Concat(id, state(tt.state), name)
		}
		if !tt.ok {
			want = span
		}
		plain, ok := uncounted(trace, span)
		if diff := cmp.Diff(want, plain); ok != tt.ok || diff != "" {
			t.Errorf("%s: %t, want %t (-want +got):\n%s", tt.name, ok, tt.ok, diff)
		}
	}
}
