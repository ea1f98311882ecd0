package receiver

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"tailweir/otlp"
)

// attacker makes requests that are nearly right: it takes valid ones apart by their grammar, of protobuf, JSON, gRPC's frames, the
// codings and the headers, and puts them together with a few faults. The same seed and number make the same request.
type attacker struct {
	*rand.Rand
	traces, logs, metrics, tracesJSON, logsJSON, metricsJSON []byte
}

func newAttacker(t testing.TB) *attacker {
	traces, logs, metrics := spansOf(3, 20, nil), recordsOf(3, 20), pointsOf(2)
	s := traces.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(1)
	s.Attributes().PutEmptyMap("m").PutEmptySlice("s").AppendEmpty().SetDouble(0.5)
	s.Events().AppendEmpty().SetName("e")
	s.Links().AppendEmpty().TraceState().FromRaw("a=b")
	s.Status().SetMessage("m")
	logs.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).SetTraceID([16]byte{1})
	return &attacker{
		traces: encoded(t, traces), logs: encoded(t, logs), metrics: encoded(t, metrics),
		tracesJSON: asJSON(t, traces), logsJSON: asJSON(t, logs), metricsJSON: asJSON(t, metrics),
	}
}

// seeded is the attacker at one request.
func (a *attacker) seeded(seed, n uint64) *attacker {
	b := *a
	b.Rand = rand.New(rand.NewPCG(seed, n))
	return &b
}

// one returns one of the choices.
func one[T any](a *attacker, choices ...T) T { return choices[a.IntN(len(choices))] }

// attack is one request before it is put on a wire.
type attack struct {
	method, path string
	headers      [][2]string
	body         []byte
}

// next makes a request for HTTP, or for gRPC if grpc says so.
func (a *attacker) next(grpc bool) attack {
	signal := one(a, otlp.Traces, otlp.Logs, otlp.Metrics)
	plain := map[otlp.Signal][]byte{otlp.Traces: a.traces, otlp.Logs: a.logs, otlp.Metrics: a.metrics}[signal]
	text := map[otlp.Signal][]byte{otlp.Traces: a.tracesJSON, otlp.Logs: a.logsJSON, otlp.Metrics: a.metricsJSON}[signal]
	at := attack{method: "POST", path: pathOf(signal, httpSignals)}
	contentType := contentTypes[Protobuf]
	switch {
	case grpc:
		at.path, contentType = pathOf(signal, grpcSignals), one(a, "application/grpc", "application/grpc+proto")
		at.body = a.protobuf(plain, 0)
	case a.IntN(3) == 0:
		contentType = contentTypes[JSON]
		at.body = a.json(text)
	default:
		at.body = a.protobuf(plain, 0)
	}
	coding := one(a, "", "", "gzip", "zstd")
	at.body = a.coded(at.body, coding)
	if grpc {
		at.headers = append(at.headers, [2]string{"grpc-encoding", coding}, [2]string{"te", "trailers"})
		at.body = a.framed(at.body, coding != "")
	} else {
		at.headers = append(at.headers, [2]string{"content-encoding", coding})
	}
	if !grpc && a.IntN(10) == 0 {
		at.path, contentType = pathOf(signal, grpcSignals), one(a, "application/grpc-web", "application/grpc-web-text", "application/grpc-web+proto")
		at.body = a.framed(a.protobuf(plain, 0), false)
		if strings.Contains(contentType, "text") {
			at.body = a.flip([]byte(base64.StdEncoding.EncodeToString(at.body)), 3)
		}
	}
	at.headers = append(at.headers, [2]string{"content-type", contentType})
	a.spoilHead(&at)
	return at
}

// spoilHead changes the request line and the headers now and then.
func (a *attacker) spoilHead(at *attack) {
	set := func(key, value string) {
		for i := range at.headers {
			if at.headers[i][0] == key && a.IntN(2) == 0 {
				at.headers[i][1] = value
				return
			}
		}
		at.headers = append(at.headers, [2]string{key, value})
	}
	switch a.IntN(12) {
	case 0:
		at.method = one(a, "GET", "PUT", "OPTIONS", "DELETE", "HEAD", "PATCH", "TRACE", "post")
	case 1:
		at.path = one(a, "/", "/v1/traces/", "//v1/traces", "/v1/traces?x=%zz", "/v1/traces;x", "/v1/%74races", "/v1/../v1/logs", "/V1/TRACES",
			healthPath, healthCheck, healthWatch+"x", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/v1development/profiles", "/"+strings.Repeat("a", 5000))
	case 2:
		set("content-type", one(a, "", "text/plain", "application/json; charset=utf-16", "application/x-protobuf; a=\"", "application/grpc+json", "application/grpc;q",
			"application/grpc-web-text+x", "application/jso\u00f1", "multipart/form-data", strings.Repeat("a/", 1000)))
	case 3:
		set(one(a, "content-encoding", "grpc-encoding"), one(a, "gzip", "zstd", "br", "identity", "gzip, gzip", "GZIP", "deflate", "snappy", "\x80"))
	case 4:
		set("grpc-timeout", one(a, "1n", "0S", "99999999H", "-1S", "S", "", "1", "123456789m", "1e3S", "٣S", "18446744073709551616n"))
	case 5:
		set("origin", one(a, "https://shop.example.com", "null", "https://evil.example", "*", "", "https://shop.example.com.", "\xff"))
		set("access-control-request-method", "POST")
		at.method = one(a, "OPTIONS", "POST")
	case 6:
		for i := range a.IntN(300) {
			at.headers = append(at.headers, [2]string{fmt.Sprintf("x-%d", i), strings.Repeat("v", a.IntN(300))})
		}
	case 7:
		set("traceparent", strings.Repeat("0", a.IntN(2000)))
		set("authorization", one(a, "Bearer", "Bearer "+strings.Repeat("x", 3000), "Basic x", "\x01"))
	}
}

// protobuf takes a message apart and spoils a few fields on the way, at any depth.
func (a *attacker) protobuf(b []byte, depth int) []byte {
	var out []byte
	for len(b) > 0 {
		_, _, n := protowire.ConsumeField(b)
		if n < 0 {
			return append(out, b...)
		}
		number, kind, tag := protowire.ConsumeTag(b)
		field := b[:n]
		value := field[tag:]
		b = b[n:]
		if kind == protowire.BytesType && depth < 12 && a.IntN(3) > 0 {
			content, _ := protowire.ConsumeBytes(value)
			if _, _, n := protowire.ConsumeField(content); n > 0 && len(content) > 3 {
				field = protowire.AppendBytes(protowire.AppendTag(nil, number, kind), a.protobuf(content, depth+1))
			}
		}
		if a.IntN(25) > 0 {
			out = append(out, field...)
			continue
		}
		out = a.spoilField(out, number, kind, field, value)
	}
	return out
}

func (a *attacker) spoilField(out []byte, number protowire.Number, kind protowire.Type, field, value []byte) []byte {
	switch a.IntN(12) {
	case 0: // left out
	case 1: // many times
		for range 1 + a.IntN(20) {
			out = append(out, field...)
		}
	case 2: // another wire type
		out = append(protowire.AppendTag(out, number, one(a, protowire.VarintType, protowire.Fixed32Type, protowire.Fixed64Type, protowire.StartGroupType, protowire.EndGroupType, 6, 7)), value...)
	case 3: // another number, also one that is not allowed
		out = append(protowire.AppendVarint(out, uint64(a.IntN(1<<a.IntN(34)))<<3|uint64(kind)), value...)
	case 4: // a length that lies
		out = protowire.AppendVarint(protowire.AppendTag(out, number, protowire.BytesType), one(a, 0, 1, uint64(len(value))+1, 1<<31, 1<<63, 1<<64-1))
		out = append(out, value...)
	case 5: // a varint without an end
		out = append(protowire.AppendTag(out, number, protowire.VarintType), bytes.Repeat([]byte{0xff}, 1+a.IntN(12))...)
	case 6: // cut
		out = append(out, field[:a.IntN(len(field))]...)
	case 7: // other bytes
		out = append(out, a.flip(bytes.Clone(field), 2)...)
	case 8: // deep nesting of arrays in values
		deep := []byte{}
		for range a.IntN(400) {
			deep = protowire.AppendBytes(protowire.AppendTag(nil, one[protowire.Number](a, 1, 2, 5, 6), protowire.BytesType), deep)
		}
		out = protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), deep)
	case 9: // a large text
		out = protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), bytes.Repeat([]byte{byte(a.IntN(256))}, a.IntN(80_000)))
	case 10: // groups
		for range a.IntN(50) {
			out = protowire.AppendTag(out, number, one(a, protowire.StartGroupType, protowire.EndGroupType))
		}
	default: // an id or a text of another length
		out = protowire.AppendBytes(protowire.AppendTag(out, number, protowire.BytesType), make([]byte, a.IntN(40)))
	}
	return out
}

// json replaces tokens of a JSON text.
func (a *attacker) json(b []byte) []byte {
	out := bytes.Clone(b)
	for range a.IntN(4) {
		from := a.IntN(len(out))
		to := min(len(out), from+a.IntN(12))
		token := one(a, "null", "true", "-1", "1e400", "18446744073709551616", "\"x\"", "[]", "{}", "[", "]", "{", "}", ",", ":", "\"", "\\", "\\u00", "\\ud800", "\x00", "\xff",
			"\"traceId\":\"zz\"", "\"spans\":[null]", "\"kind\":\"SPAN_KIND_SERVER\"", "\"intValue\":\"0x10\"", "\"startTimeUnixNano\":-1", "NaN", " ",
			strings.Repeat("[", a.IntN(3000)), strings.Repeat("{\"a\":", a.IntN(3000)), strconv.Itoa(a.IntN(1000)))
		out = append(out[:from:from], append([]byte(token), out[to:]...)...)
		if len(out) == 0 {
			return out
		}
	}
	if a.IntN(10) == 0 {
		out = out[:a.IntN(len(out))]
	}
	return out
}

// coded compresses, wrongly now and then.
func (a *attacker) coded(b []byte, coding string) []byte {
	switch coding {
	case "gzip":
		b = zip(b)
	case "zstd":
		b = zstdWriter.EncodeAll(b, nil)
	default:
		return b
	}
	switch a.IntN(6) {
	case 0:
		return a.flip(b, 3)
	case 1:
		return b[:a.IntN(len(b)+1)]
	case 2:
		return append(b, b[:a.IntN(len(b)+1)]...)
	}
	return b
}

// framed puts a gRPC header before the message, wrongly now and then.
func (a *attacker) framed(b []byte, packed bool) []byte {
	flag, size := byte(0), uint32(len(b))
	if packed {
		flag = 1
	}
	switch a.IntN(10) {
	case 0:
		flag = byte(a.IntN(256))
	case 1:
		size = one(a, 0, size+1, size-1, 1<<31, 1<<32-1)
	case 2:
		return append(frame(flag, b), frame(flag, b)...)
	case 3:
		return frame(flag, b)[:a.IntN(5+len(b))]
	}
	return append(binary.BigEndian.AppendUint32([]byte{flag}, size), b...)
}

// flip changes up to n bits.
func (a *attacker) flip(b []byte, n int) []byte {
	for range a.IntN(n + 1) {
		if len(b) > 0 {
			b[a.IntN(len(b))] ^= 1 << a.IntN(8)
		}
	}
	return b
}

// http1 is the request on a wire of HTTP/1.1, wrongly now and then.
func (a *attacker) http1(at attack) []byte {
	var out bytes.Buffer
	version, end := "HTTP/1.1", "\r\n"
	switch a.IntN(40) {
	case 0:
		version = one(a, "HTTP/1.0", "HTTP/0.9", "HTTP/2", "HTTP/3.0", "HTP/1.1", "")
	case 1:
		end = "\n"
	}
	fmt.Fprintf(&out, "%s %s %s%s", at.method, at.path, version, end)
	if a.IntN(50) > 0 {
		fmt.Fprintf(&out, "Host: receiver%s", end)
	}
	for _, h := range at.headers {
		if h[1] != "" || a.IntN(5) == 0 {
			fmt.Fprintf(&out, "%s: %s%s", h[0], h[1], end)
		}
	}
	if a.IntN(20) == 0 {
		fmt.Fprintf(&out, "%s%s", one(a, "Expect: 100-continue", "Expect: x", "Transfer-Encoding: gzip", "Transfer-Encoding: chunked, chunked", "Connection: close",
			"Connection: Upgrade\r\nUpgrade: h2c", "Content-Length: x", "Content-Length: -1", "X Y: z", ": z", "A\x00: b", "Trailer: Content-Length"), end)
	}
	if a.IntN(4) > 0 {
		n := len(at.body)
		if a.IntN(15) == 0 {
			n = one(a, 0, n+1, n/2, 1<<40)
		}
		fmt.Fprintf(&out, "Content-Length: %d%s%s", n, end, end)
		out.Write(at.body)
		return out.Bytes()
	}
	fmt.Fprintf(&out, "Transfer-Encoding: chunked%s%s", end, end)
	for rest := at.body; len(rest) > 0; {
		n := min(len(rest), 1+a.IntN(300))
		size := strconv.FormatInt(int64(n), 16)
		if a.IntN(40) == 0 {
			size = one(a, "", "-1", "0", "ffffffffffffffff", "fffffffffffffffff", "g", size+";x="+strings.Repeat("y", a.IntN(5000)))
		}
		fmt.Fprintf(&out, "%s\r\n", size)
		out.Write(rest[:n])
		out.WriteString(one(a, "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "x"))
		rest = rest[n:]
	}
	out.WriteString(one(a, "0\r\n\r\n", "0\r\n\r\n", "0\r\n\r\n", "0\r\nX-Trailer: a\r\n\r\n", "0\r\nContent-Length: 5\r\n\r\n", "0\r\n", ""))
	return out.Bytes()
}
