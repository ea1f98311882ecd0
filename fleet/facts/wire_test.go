package facts

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tailweir/fleet"
	"tailweir/otlp"
	"tailweir/sampler"
)

var sameBatch = cmp.Options{cmpopts.IgnoreUnexported(Batch{}), cmpopts.EquateEmpty()}

// fill sets every exported field below v: with zeros, one value in three is 0, else none is. A field of a kind it does not
// know is a field that the wire form does not know either.
func fill(t testing.TB, rng *rand.Rand, zeros bool, v reflect.Value) {
	number := rng.Uint64()>>rng.UintN(64) | 1
	if zeros && rng.UintN(3) == 0 {
		number = 0
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(number != 0)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(number)
	case reflect.Int64:
		v.SetInt(int64(number))
	case reflect.Array, reflect.Slice:
		if v.Kind() == reflect.Slice {
			v.Set(reflect.MakeSlice(v.Type(), int(number%3), int(number%3)))
		}
		for i := range v.Len() {
			fill(t, rng, zeros, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(t, rng, zeros, v.Field(i))
			}
		}
	default:
		t.Fatalf("a field of kind %s: the wire form has none", v.Kind())
	}
}

func randomBatch(t testing.TB, rng *rand.Rand, zeros bool) (b Batch) {
	fill(t, rng, zeros, reflect.ValueOf(&b).Elem())
	for i := range b.Messages {
		b.Messages[i].Policy = 0 // the batch's epoch says it for all
	}
	b.Away = time.Duration(uint64(b.Away)%1e9) * time.Millisecond
	return b
}

// Every field that a batch, a message, a fragment or its facts have now or will have survives.
func TestEveryFieldSurvives(t *testing.T) {
	var got Batch // reused: nothing of the batch before may remain
	for seed := range uint64(5000) {
		want := randomBatch(t, rand.New(rand.NewPCG(seed, 1)), seed%2 == 0)
		if err := got.Parse(want.Append(nil)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if diff := cmp.Diff(want, got, sameBatch); diff != "" {
			t.Fatalf("seed %d: −sent +parsed\n%s", seed, diff)
		}
	}
}

func example() *Batch {
	return &Batch{
		Fleet: 1, Claim: [16]byte{0xc1}, Epoch: 2, Worker: [16]byte{0x33}, Stream: 3, Seq: 4, Bye: true,
		Report: Report{Newest: 1_700_000_000_123, Lag: 40 * time.Millisecond, Away: 300 * time.Millisecond, Policy: 5},
		Messages: []fleet.Facts{{Message: 6, Publish: 1_700_000_000_100, First: true, Fragments: []fleet.Fragment{
			{Trace: otlp.TraceID{0xaa, 15: 0xbb}, Facts: sampler.Facts{
				Spans: 5, Bytes: 1750, Start: 1_699_999_999_000_000_000, End: 1_699_999_999_250_000_000, Root: true, Bits: [2]uint64{4, 1},
			}},
			{Trace: otlp.TraceID{0xcc}, Facts: sampler.Facts{Logs: 2, Random: 7, HasRandom: true}},
		}}, {Message: 8, Publish: 1_700_000_000_090, Again: true}},
	}
}

// The bytes of version 1 must not change: workers of two releases talk to each other.
func TestWireForm(t *testing.T) {
	want := strings.Join([]string{
		"01" + "01" + "0100000000000000" + "0500000000000000", // version, bye, fleet, policy
		"c1000000000000000000000000000000" + "33000000000000000000000000000000",
		"02" + "03" + "04" + "f6a1abfef962" + "80e89226" + "ac02" + "02" + "02", // epoch, stream, seq, newest, lag, away, counts
		"0600000000000000" + "09" + "c8a1abfef962",                              // message, first, two fragments, publish
		"aa0000000000000000000000000000bb" + "e9" + "05" + "d60d" + "80ac859908" + "80e59a77" + "04" + "01",
		"cc000000000000000000000000000000" + "16" + "02" + "0700000000000000",
		"0800000000000000" + "02" + "13", // again, 10 ms earlier
	}, "")
	if got := hex.EncodeToString(example().Append(nil)); got != want {
		t.Errorf("wire form changed:\n got %s\nwant %s", got, want)
	}
}

func TestParseFaults(t *testing.T) {
	valid := example().Append(nil)
	changed := func(at int, to ...byte) []byte {
		return append(append(append([]byte{}, valid[:at]...), to...), valid[at+1:]...)
	}
	overflow := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	const epoch, counts = 50, 65
	const message = counts + 2 + 8 // its number of fragments
	const spans = message + 1 + 6 + 17
	for _, tc := range []struct {
		name string
		data []byte
		want Error
	}{
		{"empty", nil, Error{0, "version", "is cut off"}},
		{"version 0", changed(0, 0), Error{0, "version", "is 0"}},
		{"unknown flags", changed(1, 2), Error{1, "flags", "have unknown bits"}},
		{"epoch", changed(epoch, 0x80, 0x80, 0x80, 0x80, 0x10), Error{epoch, "epoch", "overflows 32 bits"}},
		{"varint", changed(epoch+1, overflow...), Error{epoch + 1, "stream", "overflows 64 bits"}},
		{"messages", changed(counts, 100), Error{counts, "messages", "are more than fit"}},
		{"messages without end", changed(counts, overflow[1:]...), Error{counts, "messages", "are more than fit"}},
		{"fragments", changed(counts+1, 100), Error{counts + 1, "fragments", "are more than fit"}},
		{"one fragment too many", changed(message, 3<<2), Error{message, "message fragments", "are more than announced"}},
		{"one fragment too few", changed(counts+1, 3), Error{len(valid), "fragments", "are fewer than announced"}},
		{"one message too many", changed(counts, 3), Error{len(valid), "message", "is cut off"}},
		{"spans", changed(spans, 0xff, 0xff, 0xff, 0xff, 0x1f), Error{spans, "spans", "overflows 32 bits"}},
		{"trailing byte", append(valid[:len(valid):len(valid)], 0), Error{len(valid), "end", "is followed by more bytes"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got *Error
			if err := new(Batch).Parse(tc.data); !errors.As(err, &got) || !errors.Is(err, ErrMalformed) || *got != tc.want {
				t.Errorf("Parse: %v, want %v", err, &tc.want)
			}
		})
	}
}

func TestParseCutOff(t *testing.T) {
	valid := example().Append(nil)
	for n := range valid {
		var got *Error
		if err := new(Batch).Parse(valid[:n]); !errors.As(err, &got) || got.Offset > n {
			t.Errorf("%d of %d bytes: %v", n, len(valid), err)
		}
	}
}

func TestNewerVersion(t *testing.T) {
	for _, rest := range []int{0, 1, 100} {
		err := new(Batch).Parse(append([]byte{version + 1}, make([]byte, rest)...))
		if !errors.Is(err, ErrNewer) || errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes of a newer version: %v", rest, err)
		}
	}
}

// Counts that a short batch cannot hold must not make Parse allocate.
func TestParseAllocatesForWhatIsThere(t *testing.T) {
	data := (&Batch{}).appendHeader(nil, 1<<40, 1<<40)
	var b Batch
	if err := b.Parse(data); err == nil || cap(b.Messages) > 0 || cap(b.fragments) > 0 {
		t.Errorf("Parse: %v, with room for %d messages and %d fragments", err, cap(b.Messages), cap(b.fragments))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example().Append(nil))
	for seed := range uint64(20) {
		b := randomBatch(f, rand.New(rand.NewPCG(seed, 2)), true)
		f.Add(b.Append(nil))
	}
	f.Add(binary.AppendUvarint(example().appendHeader(nil, 1, 1), 1<<63))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, again Batch
		if err := got.Parse(data); err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrNewer) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if err := again.Parse(got.Append(nil)); err != nil {
			t.Fatalf("re-encoded: %v", err)
		}
		if diff := cmp.Diff(got, again, sameBatch); diff != "" {
			t.Fatalf("re-encoded: %s", diff)
		}
	})
}
