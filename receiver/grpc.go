package receiver

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"tailweir/otlp"
)

// grpcSignals are the export methods.
var grpcSignals = map[string]otlp.Signal{
	"/opentelemetry.proto.collector.trace.v1.TraceService/Export":     otlp.Traces,
	"/opentelemetry.proto.collector.logs.v1.LogsService/Export":       otlp.Logs,
	"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": otlp.Metrics,
}

const frameHeader = 5 // a flag byte and the message's length

// serveGRPC answers a call.
func (r *Receiver) serveGRPC(w http.ResponseWriter, req *http.Request, contentType string) {
	switch {
	case req.ProtoMajor < 2:
		w.Header().Set("Upgrade", "HTTP/2.0")
		plain(w, http.StatusUpgradeRequired, "gRPC needs HTTP/2, without TLS by prior knowledge")
		return
	case req.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		plain(w, http.StatusMethodNotAllowed, "gRPC is sent by POST")
		return
	case req.URL.Path == healthCheck:
		r.serveHealth(w, req)
		return
	case req.URL.Path == healthWatch:
		r.serveWatch(w, req)
		return
	case r.reflection != nil && isReflection[req.URL.Path]:
		r.serveReflection(w, req)
		return
	}
	signal, ok := grpcSignals[req.URL.Path]
	if !ok {
		writeGRPCStatus(w, codes.Unimplemented, "unknown method "+req.URL.Path, nil)
		return
	}
	c := &call{r: r, signal: signal, encoding: GRPC}
	if f := c.readMetadata(req.Header, contentType); f != nil {
		a := answer{outcome: f.outcome, text: f.text}
		r.count(c, a)
		r.writeGRPC(w, a)
		return
	}
	r.writeGRPC(w, c.answer(req))
}

// readMetadata takes what the headers say of the message.
func (c *call) readMetadata(h http.Header, contentType string) *fault {
	switch contentType {
	case "application/grpc", "application/grpc+proto":
	default:
		if codec, _, _ := strings.Cut(strings.TrimPrefix(contentType, "application/grpc"), ";"); codec != "" && codec != "+proto" {
			return faultf(Unsupported, "content type %q is not application/grpc+proto", contentType)
		}
	}
	switch coding := first(h, "Grpc-Encoding"); coding {
	case "", "identity":
	case "gzip":
		c.gzip = true
	case "zstd":
		c.zstd = true
	default:
		return faultf(Unsupported, "grpc-encoding %q is neither gzip, zstd nor identity", coding)
	}
	if v := first(h, "Grpc-Timeout"); v != "" {
		timeout, ok := parseTimeout(v)
		if !ok {
			return faultf(Malformed, "grpc-timeout %q is not a number of at most 8 digits and a unit", v)
		}
		c.deadline = time.Now().Add(timeout)
	}
	return nil
}

var timeoutUnits = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// parseTimeout reads a grpc-timeout; more hours than a Duration holds are the longest Duration.
func parseTimeout(v string) (time.Duration, bool) {
	last := len(v) - 1
	unit, ok := timeoutUnits[v[last]]
	if !ok || last < 1 || last > 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(v[:last], 10, 32)
	if err != nil {
		return 0, false
	}
	const longest = time.Duration(1<<63 - 1)
	if time.Duration(n) > longest/unit {
		return longest, true
	}
	return time.Duration(n) * unit, true
}

// readFrame reads the one message of a unary request into c.wire. Whether it is compressed is said by the
// frame's flag; the metadata only say how.
func (c *call) readFrame(body io.Reader) error {
	if _, err := io.ReadFull(body, c.head[:]); err != nil {
		return frameFault("message header", err)
	}
	switch flag := c.head[0]; {
	case flag > 1:
		return faultf(Malformed, "grpc frame has flag %d, want 0 or 1", flag)
	case flag == 1 && !c.gzip && !c.zstd:
		return faultf(Malformed, "grpc frame is compressed, but there is no grpc-encoding")
	case flag == 0:
		c.gzip, c.zstd = false, false
	}
	size := binary.BigEndian.Uint32(c.head[1:])
	if limit := c.r.cfg.MaxBody; uint64(size) > uint64(limit) {
		return faultf(TooLarge, "message has %d bytes, the limit is %d", size, limit)
	}
	if err := c.readExactly(body, int(size)); err != nil {
		return frameFault("message", err)
	}
	switch _, err := io.ReadFull(body, c.head[:1]); err {
	case io.EOF:
		return nil
	case nil:
		return faultf(Malformed, "more than one message in a unary call")
	default:
		return frameFault("end of the call", err)
	}
}

// frameFault tells a call that ended orderly in the middle of a message, which is the sender's mistake, from
// one that broke off.
func frameFault(what string, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return faultf(Malformed, "grpc %s is cut short", what)
	}
	return readFault("grpc "+what, err)
}

// Header values that every response shares; net/http only reads them.
var (
	grpcContentType = []string{"application/grpc"}
	grpcOK          = []string{"0"}
	grpcEncodings   = []string{"gzip,zstd,identity"}
	emptyFrame      = make([]byte, frameHeader)
)

func (r *Receiver) writeGRPC(w http.ResponseWriter, a answer) {
	known := answers[a.outcome]
	if known.grpc == codes.OK {
		writeGRPCMessage(w, exportResponse(a))
		return
	}
	if a.outcome == Unsupported {
		w.Header()["Grpc-Accept-Encoding"] = grpcEncodings
	}
	var details []byte
	if known.retry || a.outcome == Malformed {
		details = marshalStatus(statusOf(a, cmp.Or(a.retry, r.cfg.RetryDelay)), GRPC)
	}
	writeGRPCStatus(w, known.grpc, a.text, details)
}

// writeGRPCMessage answers OK with one message.
func writeGRPCMessage(w http.ResponseWriter, message []byte) {
	h := w.Header()
	h["Content-Type"] = grpcContentType
	w.Write(inFrame(message))
	h[http.TrailerPrefix+"Grpc-Status"] = grpcOK
}

// inFrame puts the header of a gRPC frame before a message.
func inFrame(message []byte) []byte {
	if len(message) == 0 {
		return emptyFrame
	}
	frame := make([]byte, frameHeader, frameHeader+len(message))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(message)))
	return append(frame, message...)
}

// writeGRPCStatus answers with a status alone, which gRPC sends as headers without a body ("trailers-only").
func writeGRPCStatus(w http.ResponseWriter, code codes.Code, text string, details []byte) {
	h := w.Header()
	h["Content-Type"] = grpcContentType
	h["Grpc-Status"] = []string{strconv.Itoa(int(code))}
	h["Grpc-Message"] = []string{percentEncode(validText(text))}
	if details != nil {
		h["Grpc-Status-Details-Bin"] = []string{base64.RawStdEncoding.EncodeToString(details)}
	}
	w.WriteHeader(http.StatusOK)
}

// maxText keeps an error text from exceeding what senders accept as headers (8 KiB at some, percent-encoded).
const maxText = 1024

// validText makes a text of any origin valid UTF-8 of bounded length.
func validText(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// percentEncode is the encoding of grpc-message: printable ASCII stays, except the percent sign.
func percentEncode(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
