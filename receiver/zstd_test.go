package receiver

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"tailweir/otlp"
)

// zstdOf compresses as senders do: in one piece, which states the size, or as a stream, which does not.
func zstdOf(t testing.TB, b []byte, stream bool, opts ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, append([]zstd.EOption{zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1 << 20)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if !stream {
		return w.EncodeAll(b, nil)
	}
	for piece := range slices.Chunk(b, 10_000) { // pieces, or else the writer takes the short way
		w.Write(piece)
		w.Flush()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// skippable is a frame that decoders pass over.
var skippable = []byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc")

// TestZstd sends zstd of all kinds by every protocol, and wants it on the shelf as gzip, with the same content.
func TestZstd(t *testing.T) {
	for _, n := range []int{0, 1, 39, 400} {
		request := spansOf(n, 470, nil)
		payload, text := encoded(t, request), asJSON(t, request)
		half := len(payload) / 2
		forms := map[string]func(b []byte) []byte{
			"in one piece": func(b []byte) []byte { return zstdOf(t, b, false) },
			"best":         func(b []byte) []byte { return zstdOf(t, b, false, zstd.WithEncoderLevel(zstd.SpeedBestCompression)) },
			"stream":       func(b []byte) []byte { return zstdOf(t, b, true) },
			"two frames": func(b []byte) []byte {
				return slices.Concat(skippable, zstdOf(t, b[:min(half, len(b))], false), skippable, zstdOf(t, b[min(half, len(b)):], true))
			},
		}
		for name, form := range forms {
			packed := map[bool][]byte{false: form(payload), true: form(text)}
			for _, k := range kinds {
				t.Run(fmt.Sprintf("%d spans/%s/%s", n, name, k.name), func(t *testing.T) {
					pub := new(shelf)
					r, addr := open(t, pub, Config{})
					body := packed[k.encoding == JSON]
					if k.encoding == GRPC {
						body = frame(1, body)
					}
					if got := sendCoded(t, addr, k, "zstd", body); got != k.accepted() {
						t.Fatalf("got %+v", got)
					}
					if n == 0 {
						return
					}
					m := pub.all()[0]
					data := m.Data
					if k.encoding != JSON {
						if m.Attrs[otlp.AttrContentEncoding] != otlp.EncodingGzip {
							t.Fatalf("attributes %v, want gzip", m.Attrs)
						}
						data = unzip(t, data)
					}
					if !bytes.Equal(data, payload) {
						t.Errorf("stored %d bytes, want the payload's %d", len(data), len(payload))
					}
					if st := r.Stats(); st.BytesInFlight != 0 || st.Inflated == 0 {
						t.Errorf("%d bytes in flight, %d inflated", st.BytesInFlight, st.Inflated)
					}
				})
			}
		}
	}
}

// sendCoded sends a body as it is, said to be coded so.
func sendCoded(t testing.TB, addr string, k kind, coding string, body []byte) result {
	t.Helper()
	req := k.request(t.Context(), otlp.Traces, bytes.NewReader(body), int64(len(body)))
	req.URL.Host = addr
	req.Header.Set(map[bool]string{false: "Content-Encoding", true: "Grpc-Encoding"}[k.encoding == GRPC], coding)
	got, err := k.do(httpClient(t, k.h2c), req)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestZstdLimits wants the content of a body stored up to the limit to the byte, and none over it, whatever it says of itself.
func TestZstdLimits(t *testing.T) {
	const limit = 300_000
	payload := func(size int) []byte { // of exactly that size
		b := encoded(t, recordsOf(1, size-100))
		return append(b, incompressible(size-len(b)-5)...)
	}
	for _, stream := range []bool{false, true} {
		for size, want := range map[int]int{limit - 1: 200, limit: 200, limit + 1: 413, 2 * limit: 413} {
			pub := new(shelf)
			_, addr := open(t, pub, Config{MaxBody: 1 << 20, MaxInflated: limit})
			b := payload(size)
			if len(b) != size {
				t.Fatalf("%d bytes, want %d", len(b), size)
			}
			req := kinds[0].request(t.Context(), otlp.Logs, bytes.NewReader(zstdOf(t, b, stream)), -1)
			req.URL.Host = addr
			req.Header.Set("Content-Encoding", "zstd")
			if got, err := kinds[0].do(httpClient(t, false), req); err != nil || got.HTTP != want {
				t.Errorf("%d bytes, stream %v: %+v, %v, want %d", size, stream, got, err, want)
			}
		}
	}
}

// bombs are bodies of a thousandfold and more, by coding.
func bombs(t testing.TB) map[string]map[string][]byte {
	zeros := make([]byte, 16<<20)
	member, one, many := zip(zeros), zstdOf(t, zeros, false), zstdOf(t, zeros, true)
	lies := slices.Clone(one)
	var h zstd.Header
	if err := h.Decode(lies); err != nil || !h.HasFCS {
		t.Fatalf("no size in %v: %v", h, err)
	}
	layered := zip(bytes.Repeat(member, 64))
	return map[string]map[string][]byte{
		"gzip": {"one member": member, "64 members": bytes.Repeat(member, 64), "small members": bytes.Repeat(zip(make([]byte, 1<<10)), 1<<15)},
		"zstd": {"one frame": one, "a stream": many, "64 frames": bytes.Repeat(one, 64), "frames of both kinds": bytes.Repeat(slices.Concat(skippable, many, one), 32),
			"small frames": bytes.Repeat(zstdOf(t, make([]byte, 1<<10), false), 1<<15)},
		"layers": {"gzip of gzip": layered},
	}
}

// TestBombs wants bodies that unpack to much more than the limit stopped at it, and no more memory taken than a few times the limit.
func TestBombs(t *testing.T) {
	const limit = 4 << 20
	all := bombs(t)
	for coding, bodies := range all {
		if coding == "layers" {
			continue
		}
		for name, body := range bodies {
			for _, k := range kinds {
				t.Run(coding+"/"+name+"/"+k.name, func(t *testing.T) {
					r, addr := open(t, new(shelf), Config{MaxInflated: limit})
					sent := body
					want := result{HTTP: http.StatusRequestEntityTooLarge}
					if k.encoding == GRPC {
						sent, want = frame(1, body), result{Code: 8}
					}
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					if got := sendCoded(t, addr, k, coding, sent); got != want {
						t.Errorf("got %+v, want %+v", got, want)
					}
					runtime.ReadMemStats(&after)
					if took := after.TotalAlloc - before.TotalAlloc; took > 6*limit {
						t.Errorf("%d bytes were allocated for a limit of %d", took, limit)
					}
					if st := r.Stats(); st.Inflated != 0 || st.BytesInFlight != 0 {
						t.Errorf("%d bytes inflated, %d in flight", st.Inflated, st.BytesInFlight)
					}
				})
			}
		}
	}
	// Only one layer is taken off, and what is in it is no payload; two codings are refused.
	_, addr := open(t, new(shelf), Config{MaxInflated: limit})
	if got := sendCoded(t, addr, kinds[0], "gzip", all["layers"]["gzip of gzip"]); got.HTTP != 400 {
		t.Errorf("gzip of gzip: %+v, want 400", got)
	}
	if got := sendCoded(t, addr, kinds[0], "gzip, zstd", all["gzip"]["one member"]); got.HTTP != 415 {
		t.Errorf("two codings: %+v, want 415", got)
	}
}

// TestZstdWindow wants a window that the content coding may not have refused as such.
func TestZstdWindow(t *testing.T) {
	_, addr := open(t, new(shelf), Config{})
	body := encoded(t, spansOf(2000, 470, nil))
	for size, want := range map[int]int{8 << 20: 200, 16 << 20: 400} {
		if got := sendCoded(t, addr, kinds[0], "zstd", zstdOf(t, body, true, zstd.WithWindowSize(size))); got.HTTP != want {
			t.Errorf("window of %d bytes: %+v, want %d", size, got, want)
		}
	}
	for name, body := range map[string][]byte{"cut": zstdOf(t, body, false)[:1000], "none": body, "gzip": zip(body)} {
		if got := sendCoded(t, addr, kinds[0], "zstd", body); got.HTTP != 400 {
			t.Errorf("%s: %+v, want 400", name, got)
		}
	}
}

// FuzzZstd feeds a body said to be zstd. What unzstd takes is what the library's stream reader reads of it.
func FuzzZstd(f *testing.F) {
	payload := encoded(f, spansOf(3, 10, nil))
	f.Add(zstdOf(f, payload, false))
	f.Add(zstdOf(f, payload, true))
	f.Add(slices.Concat(skippable, zstdOf(f, payload, false), zstdOf(f, payload, true)))
	f.Add(zstdOf(f, make([]byte, 1<<20), false))
	f.Add(zstdOf(f, payload, false)[:20])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		req := httptest.NewRequest("POST", "/v1/traces", bytes.NewReader(body))
		req.Header.Set("Content-Type", contentTypes[Protobuf])
		req.Header.Set("Content-Encoding", "zstd")
		answered(t, req)

		c := &call{r: New(new(shelf), smallConfig), wire: &buffer{b: body}}
		err := c.unzstd()
		d, _ := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		defer d.Close()
		want, wantErr := io.ReadAll(io.LimitReader(d, int64(smallConfig.MaxInflated)+1))
		switch {
		case err == nil && (wantErr != nil || !bytes.Equal(c.plain.b, want)):
			t.Fatalf("%d bytes, want %d, %v", len(c.plain.b), len(want), wantErr)
		case err != nil && wantErr == nil && len(want) <= smallConfig.MaxInflated && !strings.Contains(err.Error(), "window"):
			t.Fatalf("%v for what reads as %d bytes", err, len(want))
		}
	})
}

func BenchmarkZstd(b *testing.B) {
	payload := encoded(b, spansOf(39, 470, nil))
	for name, body := range map[string][]byte{"zstd": zstdOf(b, payload, false), "gzip": zip(payload)} {
		b.Run(name, func(b *testing.B) {
			r := New(void{}, Config{})
			header := http.Header{"Content-Type": {contentTypes[Protobuf]}, "Content-Encoding": {name}}
			b.ReportAllocs()
			for b.Loop() {
				req, _ := http.NewRequest("POST", "/v1/traces", bytes.NewReader(body))
				req.Header = header
				out := sinkWriter{header: http.Header{}}
				if r.ServeHTTP(&out, req); out.status != 200 {
					b.Fatalf("status %d", out.status)
				}
			}
		})
	}
}
