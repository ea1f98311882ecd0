package exporter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"tailweir/exporter/exportertest"
	"tailweir/otlp"
)

// picky is a sender to a backend that refuses any request with one of the bad parts in it; a part is the bytes up to
// and with 0, its number first.
type picky struct {
	bad  []int
	why  func(part int) string
	sent []string // requests
	has  []int    // parts, as they were confirmed
}

func (p *picky) endpoint(otlp.Signal) string     { return "e" }
func (p *picky) encode(b []byte) ([]byte, error) { return b, nil }
func (p *picky) close() error                    { return nil }
func (p *picky) attempt(_ context.Context, _ otlp.Signal, body []byte) (*PartialError, *Fault) {
	p.sent = append(p.sent, string(body))
	var parts []int
	for part := range bytes.SplitAfterSeq(body, []byte{0}) {
		if len(part) == 0 {
			continue
		}
		n := int(part[0]) - 1
		if slices.Contains(p.bad, n) {
			return nil, &Fault{Endpoint: "e", Code: "400", Msg: p.why(n)}
		}
		parts = append(parts, n)
	}
	p.has = append(p.has, parts...)
	return nil, nil
}

func partsOf(pe *PermanentError) (parts []int) {
	for _, r := range pe.Refused {
		parts = append(parts, r.Part)
	}
	return parts
}

// numbered is a batch for picky, with parts of the sizes, each at least 2.
func numbered(sizes ...int) *Batch {
	var fills []fill
	for i, size := range sizes {
		part := bytes.Repeat([]byte{byte(i + 1)}, size)
		part[size-1] = 0
		fills = append(fills, fill{trace: i + 1, payload: part, items: 1})
	}
	return batch(otlp.Traces, fills...)
}

// Whatever the parts' sizes, exactly the bad ones are named, in order, and the others are sent until they are
// confirmed and then no more.
func TestOTLPNamesRefusedParts(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		sizes := make([]int, 1+r.IntN(40))
		var bad, good []int
		share := r.IntN(5)
		for i := range sizes {
			sizes[i] = 2 + r.IntN(1<<r.IntN(9))
			if r.IntN(4) < share {
				bad = append(bad, i)
			} else {
				good = append(good, i)
			}
		}
		s := &picky{bad: bad, why: func(int) string { return "bad span" }}
		err := newOTLP(OTLPConfig{Logger: silent}.withDefaults(), s).Export(t.Context(), numbered(sizes...))
		var parts []int
		if pe, ok := errors.AsType[*PermanentError](err); ok {
			parts = partsOf(pe)
		} else if err != nil {
			t.Fatalf("seed %d: err %v", seed, err)
		}
		if diff := cmp.Diff([][]int{bad, good}, [][]int{parts, s.has}); diff != "" {
			t.Fatalf("seed %d: refused and confirmed parts (-want +got):\n%s", seed, diff)
		}
		if len(s.sent) > 2*len(sizes)-1 {
			t.Fatalf("seed %d: %d requests for %d parts", seed, len(s.sent), len(sizes))
		}
	}
}

func TestOTLPRefusedCost(t *testing.T) {
	all := make([]int, 128)
	for i := range all {
		all[i] = i
	}
	for _, tt := range []struct {
		name string
		bad  []int
		want int // requests
	}{{"none", nil, 1}, {"one", all[77:78], 15}, {"all", all, 139}} {
		t.Run(tt.name, func(t *testing.T) {
			s := &picky{bad: tt.bad, why: func(int) string { return "bad span" }}
			o := newOTLP(OTLPConfig{Logger: silent}.withDefaults(), s)
			var calls atomic.Int32
			b := numbered(slices.Repeat([]int{50}, len(all))...)
			err := All(o, outcome{"healthy", 0, nil, &calls}).Export(t.Context(), b)
			var pe *PermanentError
			if errors.As(err, &pe) != (tt.bad != nil) || pe != nil && !slices.Equal(partsOf(pe), tt.bad) {
				t.Errorf("err %v, want parts %v", err, tt.bad)
			}
			if len(s.sent) != tt.want || calls.Load() != 1 {
				t.Errorf("%d requests, want %d; %d calls of the exporter beside it, want 1", len(s.sent), tt.want, calls.Load())
			}
		})
	}
}

// Parts that do not cover the payload cannot be sent alone, nor named.
func TestOTLPRefusedAsOne(t *testing.T) {
	for name, spoil := range map[string]func(*Batch){
		"no parts": func(b *Batch) { b.Parts = nil }, "a gap": func(b *Batch) { b.Parts[1].Off++ },
	} {
		b := numbered(4, 4)
		spoil(b)
		s := &picky{bad: []int{1}, why: func(int) string { return "bad span" }}
		err := newOTLP(OTLPConfig{Logger: silent}.withDefaults(), s).Export(t.Context(), b)
		var pe *PermanentError
		if !errors.As(err, &pe) || pe.Refused != nil || len(s.sent) != 1 {
			t.Errorf("%s: %v, parts %v after %d requests, want it refused as one", name, err, partsOf(pe), len(s.sent))
		}
	}
}

func TestOTLPTellsEachReason(t *testing.T) {
	for reasons, want := range map[int]string{1: "e: 400: why 0", 2: "e: 400: why 0; e: 400: why 1", 9: "e: 400: why 0; e: 400: why 1; e: 400: why 2"} {
		s := &picky{bad: []int{0, 1, 2, 3, 4, 5, 6, 7, 8}, why: func(n int) string { return fmt.Sprint("why ", n%reasons) }}
		err := newOTLP(OTLPConfig{Logger: silent}.withDefaults(), s).Export(t.Context(), numbered(slices.Repeat([]int{9}, 10)...))
		if err == nil || err.Error() != "export traces to "+want {
			t.Errorf("%d reasons: %v, want %q", reasons, err, want)
		}
	}
}

// A partial success that rejects all of a piece is a refusal of all its parts, and nothing is sent again.
func TestOTLPRejectsAll(t *testing.T) {
	old := func(n int64) exportertest.Answer { return exportertest.Answer{Rejected: n, PartialMessage: "too old"} }
	tooLarge := exportertest.Answer{Status: 413, Code: codes.ResourceExhausted, Message: "larger than max"}
	tests := []struct {
		name     string
		batch    *Batch
		script   []exportertest.Answer
		parts    []int
		rejected int // by the PartialError
	}{
		{"one part", traceBatch(t, 3, 1), []exportertest.Answer{old(3)}, []int{0}, 0},
		{"log records", logBatch(t, 1, "a", "b"), []exportertest.Answer{old(2)}, []int{0}, 0},
		{"more than there are", traceBatch(t, 3, 1), []exportertest.Answer{old(4)}, []int{0}, 0},
		{"all parts", traceBatch(t, 3, 1, 2, 3), []exportertest.Answer{old(9)}, []int{0, 1, 2}, 0},
		{"all but one span", traceBatch(t, 3, 1, 2, 3), []exportertest.Answer{old(8)}, nil, 8},
		{"the left half", traceBatch(t, 2, 1, 2, 3, 4), []exportertest.Answer{tooLarge, old(4), {}}, []int{0, 1}, 0},
		{"the right half, one span of the left", traceBatch(t, 2, 1, 2, 3, 4), []exportertest.Answer{tooLarge, old(1), old(4)}, []int{2, 3}, 1},
	}
	for name, start := range map[string]func(testing.TB, *exportertest.TLS) *exportertest.Backend{
		"http": exportertest.NewHTTP, "grpc": exportertest.NewGRPC,
	} {
		b := start(t, nil)
		o := open(t, OTLPConfig{Endpoint: b.URL})
		for _, tt := range tests {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				before := len(b.Requests())
				b.Script(tt.script...)
				err := o.Export(t.Context(), tt.batch)
				pe, _ := errors.AsType[*PermanentError](err)
				if pe == nil != (tt.parts == nil) || pe != nil && !slices.Equal(partsOf(pe), tt.parts) {
					t.Errorf("err %v %+v, want parts %v refused", err, pe, tt.parts)
				}
				partial, _ := errors.AsType[*PartialError](err)
				if partial == nil != (tt.rejected == 0) || partial != nil && partial.Rejected != tt.rejected {
					t.Errorf("err %v, want %d unnamed items rejected", err, tt.rejected)
				}
				if pe != nil && (!strings.Contains(err.Error(), "too old") || !strings.Contains(err.Error(), "127.0.0.1")) {
					t.Errorf("%q names neither endpoint nor reason", err)
				}
				if n := len(b.Requests()) - before; n != len(tt.script) {
					t.Errorf("%d requests, want %d", n, len(tt.script))
				}
			})
		}
	}
}

// A page for people confirms nothing: the batch is held. Anything else with a 2xx confirms, readable or not.
func TestOTLPWebPage(t *testing.T) {
	page := []byte("<!DOCTYPE html>\n<title>Log in</title>")
	tests := []struct {
		media  string
		status int
		body   []byte
		held   bool
	}{
		{"text/html; charset=utf-8", 200, page, true},
		{"Text/HTML", 202, page, true},
		{"application/xhtml+xml", 200, page, true},
		{"", 200, []byte{}, false},
		{"", 202, []byte{}, false},
		{"text/plain; charset=utf-8", 200, []byte("ok"), false},
		{"application/json", 200, []byte("{}"), false},
		{"application/json", 200, []byte(`{"partialSuccess":`), false},
		{"application/json", 200, []byte(`{"partialSuccess":{"rejectedSpans":{}}}`), false},
		{"application/x-protobuf", 200, []byte{0x0a, 0xff}, false},
		{"application/octet-stream", 200, []byte{0xff}, false},
	}
	b := exportertest.NewHTTP(t, nil)
	for _, tt := range tests {
		var logged bytes.Buffer
		o := open(t, OTLPConfig{Endpoint: b.URL})
		o.log = slog.New(slog.NewTextHandler(&logged, nil))
		o.courier.log = o.log
		before := len(b.Requests())
		b.Script(exportertest.Answer{Status: tt.status, Body: tt.body, Header: map[string]string{"Content-Type": tt.media}})
		err := o.Export(t.Context(), traceBatch(t, 1, 1))
		if n := len(b.Requests()) - before; err != nil || (n == 2) != tt.held || n > 2 {
			t.Errorf("%d %q %q: err %v after %d requests, want held %t", tt.status, tt.media, tt.body, err, n, tt.held)
		}
		advice := strings.Contains(logged.String(), "check the exporter's endpoint") && strings.Contains(logged.String(), "a web page: <!DOCTYPE html> <title>Log in")
		if advice != tt.held || !tt.held && logged.Len() > 0 {
			t.Errorf("%q: logged %q", tt.media, &logged)
		}
	}
}

func TestOTLPWebPageOverGRPC(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<!DOCTYPE html>"))
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	defer srv.Close()
	o := open(t, OTLPConfig{Endpoint: "grpc" + strings.TrimPrefix(srv.URL, "http")})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.courier.log = onLog(cancel)
	err := o.Export(ctx, traceBatch(t, 1, 1))
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "text/html") {
		t.Errorf("err %v, want the page to be held until the context ends", err)
	}
}
