package receiver

import (
	"testing"

	"tailweir/otlp"
)

// What has no service.name is stored as it is, and counted.
func TestUnnamed(t *testing.T) {
	pub := new(shelf)
	r, addr := open(t, pub, Config{})
	ways[0].send(t, addr, otlp.Traces, encoded(t, spansOf(2, 3, nil)))
	ways[0].send(t, addr, otlp.Logs, encoded(t, recordsOf(3, 3)))
	if st := r.Stats(); st.UnnamedSpans != 0 || st.UnnamedRecords != 3 || len(pub.all()) != 2 {
		t.Errorf("%d spans and %d records without a name, want 0 and 3; %d messages", st.UnnamedSpans, st.UnnamedRecords, len(pub.all()))
	}
}
