package otlp

import (
	"bytes"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, payload := range [][]byte{sampleTraces(300, 9), oddTraces()} {
		p := scanned(t, Traces, payload)
		for _, max := range []int{0, 100, 700, 5_000, 60_000, len(payload) - 1} {
			parts, tooLarge := Split(p, max)
			again, _ := Split(p, max)
			items := len(tooLarge)
			for i, part := range parts {
				if len(part) > max || !bytes.Equal(part, again[i]) {
					t.Fatalf("max %d: part %d has %d bytes, or is not the same twice", max, i, len(part))
				}
				items += scanned(t, Traces, part).Len()
			}
			if items != p.Len() {
				t.Errorf("max %d: %d items, want %d", max, items, p.Len())
			}
			for _, i := range tooLarge {
				if n := len(Select(p, func(j int32) bool { return j == i })); n <= max {
					t.Errorf("max %d: item %d takes %d bytes, but was left out", max, i, n)
				}
			}
		}
		if parts, tooLarge := Split(p, len(payload)); len(parts) != 1 || &parts[0][0] != &payload[0] || tooLarge != nil {
			t.Error("a payload that fits was changed")
		}
	}
}
