package offline

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"tailweir/otlp"
	"tailweir/sampler"
)

// line is a request of one trace, with so many spans of 1 ms.
func line(trace byte, spans int) string {
	var all []string
	for i := range spans {
		all = append(all, fmt.Sprintf(`{"traceId":"%032x","spanId":"%016x","name":"a}\"{","startTimeUnixNano":"%d","endTimeUnixNano":"%d"}`, trace, i+1, uint64(1e18), uint64(1e18+1e6)))
	}
	return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Join(all, ",") + `]}]}]}`
}

func logLine(records int) string {
	return `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + strings.Repeat(`{"timeUnixNano":"5","body":{"stringValue":"x"}},`, records-1) + `{"timeUnixNano":"5"}]}]}]}`
}

func proto(t testing.TB, signal otlp.Signal, json string) []byte {
	b, err := otlp.FromJSON(signal, []byte(json))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func metricsRequest(t testing.TB, name string) []byte {
	m := pmetric.NewMetrics()
	one := m.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	one.SetName(name)
	one.SetEmptyGauge().DataPoints().AppendEmpty().SetIntValue(7)
	b, err := pmetricotlp.NewExportRequestFromMetrics(m).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func frames(requests ...[]byte) (b []byte) {
	for _, r := range requests {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(r))), r...)
	}
	return b
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(b, nil)
}

func pretty(line string) string {
	return strings.NewReplacer("[", "[\n  ", ",\"", ",\n\t\"").Replace(line)
}

// read is what one file comes to: spans by trace in the order of their first appearance.
func read(policies *sampler.Policies, file io.Reader) (string, *Traces, error) {
	t := New(policies)
	err := t.Read("f", file)
	var out []string
	for i := range t.traces {
		out = append(out, fmt.Sprintf("%x:%d", t.traces[i].id[15], t.traces[i].facts.Spans))
	}
	return strings.Join(out, " "), t, err
}

// trickle reads a byte or a few at a time, so that every border falls between two reads.
type trickle struct{ r io.Reader }

func (s trickle) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), 7)]) }

func TestReadTellsTheForm(t *testing.T) {
	two := line(2, 3) + "\n" + line(1, 1) + "\n" + line(2, 2)
	one := proto(t, otlp.Traces, line(1, 2))
	long := proto(t, otlp.Traces, line(3, 1))
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":                   {nil, ""},
		"white space":               {[]byte("\n \n"), ""},
		"JSON lines":                {[]byte(two + "\n"), "2:5 1:1"},
		"no newline at the end":     {[]byte(two), "2:5 1:1"},
		"CRLF and empty lines":      {[]byte("\r\n" + strings.ReplaceAll(two, "\n", "\r\n\r\n")), "2:5 1:1"},
		"values without a newline":  {[]byte(line(1, 1) + line(2, 1)), "1:1 2:1"},
		"pretty printed":            {[]byte("\n" + pretty(line(1, 2)) + "\n"), "1:2"},
		"many pretty printed":       {[]byte(pretty(line(1, 2)) + "\n\n" + pretty(line(2, 1))), "1:2 2:1"},
		"an empty request":          {[]byte("{}\n" + line(1, 1)), "1:1"},
		"further keys":              {[]byte(`{"a":{"resourceLogs":1},"b":["c",` + strings.Repeat(`"resourceLogs",`, 20) + `"d"],"resource_spans":` + strings.TrimPrefix(line(1, 1), `{"resourceSpans":`)), "1:1"},
		"protobuf":                  {one, "1:2"},
		"many protobufs in a row":   {append(one[:len(one):len(one)], long...), "1:2 3:1"}, // which is one
		"length and protobuf":       {frames(one, nil, long, one), "1:2 3:1"},
		"length and JSON":           {frames([]byte(two), []byte(line(7, 1))), "2:5 1:1 7:1"},
		"length and zstd of JSON":   {frames(zstded([]byte(two)), zstded([]byte(line(7, 1)))), "2:5 1:1 7:1"},
		"length and zstd of proto":  {frames(zstded(one), zstded(long)), "1:2 3:1"},
		"gzip of JSON":              {gzipped([]byte(two)), "2:5 1:1"},
		"gzips one after the other": {append(gzipped([]byte(line(2, 3)+"\n")), gzipped([]byte(line(1, 1)))...), "2:3 1:1"},
		"gzip of protobuf":          {gzipped(one), "1:2"},
		"gzip of lengths":           {gzipped(frames(one, long)), "1:2 3:1"},
		"zstd of JSON":              {zstded([]byte(two)), "2:5 1:1"},
		"logs":                      {[]byte(line(1, 1) + "\n" + logLine(3)), "1:1"},
		"logs as protobuf":          {frames(proto(t, otlp.Logs, logLine(3)), one), "1:2"},
		"metrics":                   {[]byte(`{"resourceMetrics":[]}` + line(1, 1)), "1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{bytes.NewReader(tt.file), trickle{bytes.NewReader(tt.file)}} {
				got, all, err := read(sampler.Default(), r)
				if err != nil || got != tt.want {
					t.Fatalf("%q, %v; want %q", got, err, tt.want)
				}
				if want := 3; strings.HasPrefix(name, "logs") && all.Stats.Logs != want {
					t.Errorf("%d log records, want %d", all.Stats.Logs, want)
				}
				if name == "metrics" && all.Stats.Others != 1 {
					t.Errorf("%d other requests, want 1", all.Stats.Others)
				}
			}
		})
	}
}

// A protobuf that begins like "\n{" is none the less no JSON.
func TestProtobufThatLooksLikeText(t *testing.T) {
	for n := range 100 {
		json := strings.Replace(line(1, 1), `a}\"{`, strings.Repeat("n", n), 1)
		if b := proto(t, otlp.Traces, json); b[1] == '{' {
			if got, _, err := read(sampler.Default(), bytes.NewReader(b)); err != nil || got != "1:1" {
				t.Errorf("%q, %v", got, err)
			}
			return
		}
	}
	t.Fatal("no name makes a message of 123 bytes")
}

func TestReadSaysWhatIsWrong(t *testing.T) {
	one := proto(t, otlp.Traces, line(1, 2))
	good := line(1, 1) + "\n"
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"no form":                {[]byte("hello"), "f: byte 0: neither OTLP JSON nor OTLP protobuf"},
		"a list":                 {[]byte("[" + line(1, 1) + "]"), "f: byte 0: neither"},
		"cut off":                {[]byte(good + good[:50]), "f:2: the JSON value that begins in line 2 is cut off"},
		"cut off, many lines":    {[]byte("{\n\n"), "f:3: the JSON value that begins in line 1 is cut off"},
		"between values":         {[]byte(good + "\n, " + good), "f:3: ',' stands between JSON values"},
		"no JSON":                {[]byte(good + `{"resourceSpans":nil}`), "f:2: otlp: read traces JSON: "},
		"no JSON, in its line":   {[]byte(good + "{\"resourceSpans\":\n\n[,]}"), "f:4: otlp: read traces JSON: "},
		"no JSON, no keys":       {[]byte("{,}"), "f:1: otlp: read traces JSON: "},
		"no metrics":             {[]byte(`{"resourceMetrics":nil}`), "f:1: otlp: read traces JSON: "},
		"another document":       {[]byte(good + `{"data":[{"traceID":"x"}]}`), `f:2: no OTLP request: its first key is "data", want resourceSpans`},
		"two requests in one":    {[]byte(`{"resourceLogs":[],"resourceSpans":[]}`), "f:1: has both resourceLogs and resourceSpans"},
		"a trace id too short":   {[]byte(strings.Replace(good, "000000", "", 1)), "f:1: "},
		"protobuf cut off":       {one[:len(one)-3], "f: no OTLP request of traces or logs: otlp: traces payload malformed at byte 0: "},
		"protobuf with a mutant": {append(one[:len(one):len(one)], 0x0b), "f: no OTLP request of traces or logs: otlp: traces payload malformed at byte "},
		"metrics":                {metricsRequest(t, "a.metrics.name_1"), "f: holds spans without ids and times: is this a request of metrics?"},
		"other metrics":          {metricsRequest(t, "cpu"), "f: no OTLP request of traces or logs: "},
		"no length":              {append(frames(one), 0, 0), "f: request of 0 bytes at byte "},
		"length beyond the end":  {frames(one)[:50], fmt.Sprintf("f: request of %d bytes at byte 0: cut off by the end of the file", len(one))},
		"length of no request":   {append(frames(one), 'a', 'b', 'c', 'd', 'e'), "not the length of a request"},
		"bad request in the row": {frames(one, []byte("xyz")), fmt.Sprintf("f: request of 3 bytes at byte %d: no OTLP request", len(one)+4)},
		"bad line in the row":    {frames([]byte(good + "{,}")), "line 2 of it: otlp: read traces JSON: "},
		"gzip cut off":           {gzipped([]byte(good))[:40], "f: cut off by the end of the file"},
		"gzip of no form":        {gzipped([]byte("hello")), "f: byte 0: neither"},
		"gzip with a bad sum":    {append(gzipped([]byte(good))[:len(gzipped([]byte(good)))-8], 1, 2, 3, 4, 5, 6, 7, 8), "gzip: invalid checksum"},
		"no gzip":                {[]byte{0x1f, 0x8b, 1, 1, 1, 1, 1, 1, 1, 1, 1}, "f: gzip: invalid header"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := read(sampler.Default(), trickle{bytes.NewReader(tt.file)})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// Whatever a file holds, it is read to the end or refused; and how the bytes come makes no difference.
func FuzzRead(f *testing.F) {
	one := proto(f, otlp.Traces, line(1, 2))
	for _, seed := range [][]byte{
		nil, []byte(line(1, 2) + "\n" + logLine(2)), []byte(pretty(line(1, 2))), one, frames(one, one), gzipped(one), zstded(one),
		frames(zstded([]byte(line(1, 1)))), metricsRequest(f, "a.metrics.name_1"), []byte(`{"resourceSpans":[],"a":"\"{"}`),
	} {
		f.Add(seed)
	}
	policies := sampler.Default()
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 1<<16 {
			return
		}
		at, all, err := read(policies, bytes.NewReader(file))
		slowly, _, same := read(policies, trickle{bytes.NewReader(file)})
		if at != slowly || fmt.Sprint(err) != fmt.Sprint(same) {
			t.Fatalf("read at once %q, %v; slowly %q, %v", at, err, slowly, same)
		}
		if err != nil {
			return
		}
		spans := uint64(0)
		for _, v := range all.Decide(true) {
			spans += uint64(v.Facts.Spans)
		}
		if spans != uint64(all.Stats.Spans) {
			t.Errorf("%d spans decided, %d read", spans, all.Stats.Spans)
		}
	})
}
