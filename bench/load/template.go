package load

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	services   = 10
	operations = 4 // per service, each as root or child, in order or in error
)

var serviceNames = [services]string{
	"storefront", "mobile-gateway", "partner-api", "checkout", "catalog",
	"inventory", "payments", "recommendations", "shipping", "accounts",
}

var routes = [operations]string{"/api/v2/orders/{order_id}", "/api/v2/items/search", "/internal/v1/stock/reserve", "/internal/v1/accounts/{id}/limits"}

// spanTemplate is one span as ScopeSpans carries it, tag and length included;
// the places of what differs from span to span are known.
type spanTemplate struct {
	bytes                      []byte
	trace, span, parent        int // parent is 0 in a root
	start, end, request, event int // event is the time of the exception, 0 without one
}

// recordTemplate is one log record as ScopeLogs carries it.
type recordTemplate struct {
	bytes                       []byte
	time, observed, trace, span int
}

// service is what one instrumented process sends.
type service struct {
	spans    [operations][2][2]spanTemplate // by operation, root or child, in order or in error
	records  [2]recordTemplate              // in order, in error
	resource []byte                         // the Resource field of ResourceSpans and of ResourceLogs
	scope    []byte                         // the InstrumentationScope field of ScopeSpans and of ScopeLogs
}

func newService(i int) *service {
	s := &service{
		resource: message(1, resourceAttributes(i)),
		scope: message(1, join(text(1, "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"),
			text(2, "0.69.0"))),
	}
	for op := range operations {
		for child := range 2 {
			for failed := range 2 {
				s.spans[op][child][failed] = newSpanTemplate(i, op, child == 1, failed == 1)
			}
		}
	}
	s.records = [2]recordTemplate{newRecordTemplate(i, false), newRecordTemplate(i, true)}
	return s
}

func resourceAttributes(i int) []byte {
	name := serviceNames[i]
	return join(
		attribute(1, "service.name", name),
		attribute(1, "service.namespace", "shop"),
		attribute(1, "service.version", fmt.Sprintf("2026.%d.%d", i+1, 3*i)),
		attribute(1, "service.instance.id", fmt.Sprintf("%s-00042-x%dk-7f9c", name, i)),
		attribute(1, "cloud.provider", "gcp"),
		attribute(1, "cloud.platform", "gcp_cloud_run"),
		attribute(1, "cloud.region", "europe-west1"),
		attribute(1, "telemetry.sdk.language", "go"),
		attribute(1, "telemetry.sdk.name", "opentelemetry"),
		attribute(1, "telemetry.sdk.version", "1.47.0"),
	)
}

// newSpanTemplate lays a span out in the order SDKs write it: ascending field numbers.
func newSpanTemplate(svc, op int, child, failed bool) spanTemplate {
	var t spanTemplate
	b, kind := []byte(nil), uint64(2) // server
	b, t.trace = fixedBytes(b, 1, 16)
	b, t.span = fixedBytes(b, 2, 8)
	if child {
		b, t.parent = fixedBytes(b, 4, 8)
		kind = uint64(1 + op%3) // internal, server, client
	}
	method := []string{"GET", "POST", "PUT", "GET"}[op]
	b = append(b, text(5, method+" "+routes[op])...)
	b = protowire.AppendVarint(protowire.AppendTag(b, 6, protowire.VarintType), kind)
	b, t.start = fixed64(b, 7)
	b, t.end = fixed64(b, 8)
	b = append(b, spanAttributeFields(svc, op, method, failed)...)
	b, t.request = requestAttribute(b)
	if failed {
		b, t.event = exceptionEvent(b)
		b = append(b, message(15, join(text(2, "upstream connect error"), number(3, 2)))...)
	}
	b = protowire.AppendFixed32(protowire.AppendTag(b, 16, protowire.Fixed32Type), 0x101)
	t.bytes = message(2, b)
	t.shift(len(t.bytes) - len(b))
	return t
}

func (t *spanTemplate) shift(by int) {
	for _, at := range []*int{&t.trace, &t.span, &t.parent, &t.start, &t.end, &t.request, &t.event} {
		if *at != 0 {
			*at += by
		}
	}
}

// spanAttributeFields are all attributes but the request's id.
func spanAttributeFields(svc, op int, method string, failed bool) []byte {
	status := 200
	if failed {
		status = 503
	}
	return join(
		attribute(9, "http.request.method", method),
		attribute(9, "http.route", routes[op]),
		attribute(9, "http.response.status_code", status),
		attribute(9, "url.scheme", "https"),
		attribute(9, "server.address", serviceNames[(svc+op)%services]+".shop"),
		attribute(9, "server.port", 8443),
		attribute(9, "network.protocol.version", "1.1"),
		attribute(9, "user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0)"),
		attribute(9, "client.address", fmt.Sprintf("10.12.%d.%d", svc, 17*op)),
		attribute(9, "http.response.body.size", 1024+373*op),
		attribute(9, "app.cache.hit_ratio", 0.25*float64(op)),
	)
}

// requestAttribute appends the attribute whose 16 hex digits differ from span to span.
func requestAttribute(b []byte) ([]byte, int) {
	b = append(b, attribute(9, "app.request_id", "0123456789abcdef")...)
	return b, len(b) - 16
}

func exceptionEvent(b []byte) ([]byte, int) {
	e, at := fixed64(nil, 1)
	e = append(e, join(text(2, "exception"),
		attribute(3, "exception.type", "*net.OpError"),
		attribute(3, "exception.message", "dial tcp 10.12.3.4:8443: connect: connection refused"))...)
	before := len(b)
	b = append(b, message(11, e)...)
	return b, before + (len(b) - before - len(e)) + at
}

func newRecordTemplate(svc int, failed bool) recordTemplate {
	var t recordTemplate
	severity, level, body := uint64(9), "INFO", "request handled, cache refreshed in the background"
	if failed {
		severity, level, body = 17, "ERROR", "upstream connect error, giving up after 3 attempts"
	}
	b, at := fixed64(nil, 1)
	t.time = at
	b = append(b, number(2, severity)...)
	b = append(b, text(3, level)...)
	b = append(b, message(5, text(1, body))...)
	b = append(b, attribute(6, "code.function.name", serviceNames[svc]+".(*handler).ServeHTTP")...)
	b = append(b, attribute(6, "thread.id", 40+svc)...)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 8, protowire.Fixed32Type), 1)
	b, t.trace = fixedBytes(b, 9, 16)
	b, t.span = fixedBytes(b, 10, 8)
	b, t.observed = fixed64(b, 11)
	t.bytes = message(2, b)
	by := len(t.bytes) - len(b)
	t.time, t.trace, t.span, t.observed = t.time+by, t.trace+by, t.span+by, t.observed+by
	return t
}

func message(field protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), body)
}

func text(field protowire.Number, s string) []byte { return message(field, []byte(s)) }

func number(field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), v)
}

// attribute is a KeyValue in the given field; value is a string, an int or a float64.
func attribute(field protowire.Number, key string, value any) []byte {
	var v []byte
	switch value := value.(type) {
	case string:
		v = text(1, value)
	case int:
		v = number(3, uint64(value))
	case float64:
		v = protowire.AppendFixed64(protowire.AppendTag(nil, 4, protowire.Fixed64Type), math.Float64bits(value))
	default:
		panic(fmt.Sprintf("attribute %s: value of type %T", key, value))
	}
	return message(field, join(text(1, key), message(2, v)))
}

// fixedBytes appends a bytes field of n zeros and says where they are.
func fixedBytes(b []byte, field protowire.Number, n int) ([]byte, int) {
	b = protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), make([]byte, n))
	return b, len(b) - n
}

func fixed64(b []byte, field protowire.Number) ([]byte, int) {
	b = protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), 0)
	return b, len(b) - 8
}

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

const hexDigits = "0123456789abcdef"

// putHex writes v as 16 hex digits.
func putHex(b []byte, v uint64) {
	_ = b[15]
	for i := range 16 {
		b[i] = hexDigits[v>>(60-4*i)&15]
	}
}

func putTime(b []byte, ns int64) { binary.LittleEndian.PutUint64(b, uint64(ns)) }
