package sink

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/bench/ledger"
)

// request holds one span.
func request(id ledger.Identity, span int) []byte {
	trace := id.TraceID()
	item := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), trace[:])
	item = protowire.AppendBytes(protowire.AppendTag(item, 2, protowire.BytesType), binary.BigEndian.AppendUint64(nil, ledger.SpanID(id.High(), span)))
	for _, field := range []protowire.Number{2, 2, 1} {
		item = protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), item)
	}
	return item
}

func TestJournalSurvivesADeath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	id := ledger.Identity{Run: 1, Number: 7, Spans: 9}
	spans := 0
	for life, cut := range []int64{0, 1, 4, 20} { // bytes that the death left of the last request
		var s Sink
		if err := s.OpenJournal(path); err != nil {
			t.Fatal(err)
		}
		if got := s.Seen.Counts(); got.Spans != spans || got.DuplicateSpans+got.Invented != 0 {
			t.Fatalf("life %d begins with %+v, want %d spans", life, got, spans)
		}
		for range 2 {
			if err := s.add(kindTraces, request(id, spans)); err != nil {
				t.Fatal(err)
			}
			spans++
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.add(kindTraces, request(id, 8)); err != nil { // was not confirmed: the process dies
			t.Fatal(err)
		}
		if err := os.Truncate(path, info.Size()+cut); err != nil {
			t.Fatal(err)
		}
	}
}
