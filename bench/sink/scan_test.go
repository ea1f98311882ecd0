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

func TestStateless(t *testing.T) {
	state := func(s string) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), []byte(s))
	}
	id, name := []byte{1<<3 | 2, 1, 't'}, []byte{5<<3 | 2, 1, 'n'}
	for _, tt := range []struct {
		name        string
		span        []byte
		plain, want string
	}{
		{"none", slices.Concat(id, name), string(id) + string(name), ""},
		{"one", slices.Concat(id, state("ot=th:8"), name), string(id) + string(name), "ot=th:8"},
		{"at the end", slices.Concat(id, name, state("a=b")), string(id) + string(name), "a=b"},
		{"two", slices.Concat(state("ot=th:8"), id, state("ot=th:8"), name), string(id) + string(name), "ot=th:8ot=th:8"},
		{"no bytes", slices.Concat(id, []byte{3 << 3, 1}, name), string(id) + "\x18\x01" + string(name), ""},
		{"malformed", slices.Concat(id, state("ot=th:8"), []byte{0xff}), string(id) + "\xff", "ot=th:8"},
	} {
		plain, got := stateless(tt.span)
		if diff := cmp.Diff([]string{tt.plain, tt.want}, []string{string(plain), string(got)}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
