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
