package receiver

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	pb "google.golang.org/protobuf/proto"

	"tailweir/otlp"
)

// TestConformanceTable holds docs/conformance.md to the tests that it names: each line has one, or the reason why it has none.
func TestConformanceTable(t *testing.T) {
	doc, err := os.ReadFile("../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = fs.WalkDir(os.DirFS(".."), ".", func(file string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (name[0] == '.' || name == "node_modules" || name == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		src, err := os.ReadFile("../" + file)
		for _, m := range declared.FindAllStringSubmatch(string(src), -1) {
			tests[path.Dir(file)+": "+m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.Contains(line, "---") || strings.Contains(cells[2], "The specification") {
			continue
		}
		lines++
		named := regexp.MustCompile("`([a-z0-9/]+)`: ((?:`\\w+`(?:, )?)+)").FindAllStringSubmatch(cells[4], -1)
		if len(named) == 0 && !strings.Contains(cells[4], "otherwise: ") {
			t.Errorf("no test and no reason: %s", line)
		}
		for _, m := range named {
			for _, name := range regexp.MustCompile(`\w+`).FindAllString(m[2], -1) {
				if !tests[m[1]+": "+name] {
					t.Errorf("there is no %s in %s: %s", name, m[1], line)
				}
			}
		}
	}
	if lines < 40 {
		t.Errorf("the table has %d lines", lines)
	}
}

// TestSuccessIsEmpty wants partial_success unset in what is a full success: no byte of protobuf, {} in JSON.
func TestSuccessIsEmpty(t *testing.T) {
	_, addr := open(t, new(shelf), Config{})
	for contentType, test := range map[string]struct {
		body []byte
		want string
	}{
		contentTypes[Protobuf]: {encoded(t, spansOf(1, 1, nil)), ""},
		contentTypes[JSON]:     {asJSON(t, spansOf(1, 1, nil)), "{}"},
	} {
		resp, err := http.Post("http://"+addr+"/v1/traces", contentType, bytes.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(body) != test.want || resp.Header.Get("Content-Type") != contentType {
			t.Errorf("%s: %d %q of %s, want %q", contentType, resp.StatusCode, body, resp.Header.Get("Content-Type"), test.want)
		}
	}
}

// TestEmptyEnvelopes wants groups without items taken and stored nowhere.
func TestEmptyEnvelopes(t *testing.T) {
	for name, body := range map[string]string{
		"nothing": `{}`, "no resources": `{"resourceSpans":[]}`, "no scopes": `{"resourceSpans":[{"resource":{}}]}`, "no spans": `{"resourceSpans":[{"scopeSpans":[{"scope":{"name":"x"}}]}]}`,
	} {
		pub := new(shelf)
		_, addr := open(t, pub, Config{})
		if got := ways[4].send(t, addr, otlp.Traces, []byte(body)); got != (reply{HTTP: 200}) || len(pub.all()) != 0 {
			t.Errorf("%s: %+v, %d messages", name, got, len(pub.all()))
		}
		request := ptraceotlp.NewExportRequest()
		if err := request.UnmarshalJSON([]byte(body)); err != nil {
			t.Fatal(err)
		}
		if got := ways[6].send(t, addr, otlp.Traces, encoded(t, request)); got != (reply{}) || len(pub.all()) != 0 {
			t.Errorf("%s by gRPC: %+v, %d messages", name, got, len(pub.all()))
		}
	}
}

// TestRefusalsCarryStatus wants a Status in the request's encoding as the body of every refusal that a sender of OTLP can get.
func TestRefusalsCarryStatus(t *testing.T) {
	body := encoded(t, spansOf(1, 100, nil))
	tests := []struct {
		name, method, path, coding string
		body                       []byte
		cfg                        Config
		pub                        *shelf
		want                       int
		details                    pb.Message
	}{
		{name: "malformed", body: []byte("\x0a\xff{"), want: 400, details: new(errdetails.BadRequest)},
		{name: "not gzip", coding: "gzip", body: body, want: 400, details: new(errdetails.BadRequest)},
		{name: "no path", path: "/v1/trace", body: body, want: 404},
		{name: "no POST", method: "PUT", body: body, want: 405},
		{name: "too large", body: make([]byte, 200), cfg: Config{MaxBody: 100}, want: 413},
		{name: "a coding", coding: "br", body: body, want: 415},
		{name: "outage", body: body, pub: &shelf{before: outage}, want: 503, details: new(errdetails.RetryInfo)},
		{name: "no key", body: body, cfg: Config{Gate: closed{}}, want: 401},
	}
	for _, test := range tests {
		for _, encoding := range []Encoding{Protobuf, JSON} {
			if test.pub == nil {
				test.pub = new(shelf)
			}
			sent := test.body
			if encoding == JSON && (test.want == 503) {
				sent = asJSON(t, spansOf(1, 100, nil))
			}
			_, addr := open(t, test.pub, test.cfg)
			at, method := cmp.Or(test.path, "/v1/traces"), cmp.Or(test.method, "POST")
			req, _ := http.NewRequest(method, "http://"+addr+at, bytes.NewReader(sent))
			req.Header.Set("Content-Type", contentTypes[encoding])
			req.Header.Set("Content-Encoding", test.coding)
			resp, err := httpClient(t, false).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			var st spb.Status
			if encoding == JSON {
				err = protojson.Unmarshal(got, &st)
			} else {
				err = pb.Unmarshal(got, &st)
			}
			if err != nil || resp.StatusCode != test.want || st.Message == "" || codes.Code(st.Code) == codes.OK || resp.Header.Get("Content-Type") != contentTypes[encoding] {
				t.Errorf("%s, %s: %d %s %q, %v, want %d with a Status", test.name, encoding, resp.StatusCode, resp.Header.Get("Content-Type"), got, err, test.want)
			}
			has := len(st.Details) == 1
			if has != (test.details != nil) || has && !st.Details[0].MessageIs(test.details) {
				t.Errorf("%s, %s: details %v, want %T", test.name, encoding, st.Details, test.details)
			}
		}
	}
}

// TestUnknownFields wants what later versions add taken: protobuf stored with the bytes that we do not know, JSON as if they were not
// there.
func TestUnknownFields(t *testing.T) {
	add := func(b []byte) []byte { // fields of each wire type, with numbers that OTLP may have one day
		b = protowire.AppendVarint(protowire.AppendTag(b, 99, protowire.VarintType), 7)
		b = protowire.AppendBytes(protowire.AppendTag(b, 100, protowire.BytesType), []byte("new"))
		b = protowire.AppendFixed32(protowire.AppendTag(b, 101, protowire.Fixed32Type), 7)
		return protowire.AppendFixed64(protowire.AppendTag(b, 536870911, protowire.Fixed64Type), 7)
	}
	wrap := func(n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	span := add(append(wrap(1, bytes.Repeat([]byte{1}, 16)), append(wrap(2, bytes.Repeat([]byte{2}, 8)), wrap(9, add(wrap(1, []byte("k"))))...)...))
	payload := add(wrap(1, add(append(wrap(1, add(nil)), wrap(2, add(append(wrap(1, add(nil)), wrap(2, span)...)))...))))
	for _, w := range ways {
		if w.encoding == JSON {
			continue
		}
		pub := new(shelf)
		_, addr := open(t, pub, Config{})
		if got := w.send(t, addr, otlp.Traces, payload); got.Code != codes.OK || got.Rejected != 0 {
			t.Errorf("%s: %+v", w.name, got)
		}
		data := pub.all()[0].Data
		if w.gzip {
			data = unzip(t, data)
		}
		if !bytes.Equal(data, payload) {
			t.Errorf("%s: the payload was changed", w.name)
		}
	}
	pub := new(shelf)
	_, addr := open(t, pub, Config{})
	body := `{"x":{"y":[1,{"z":null}]},"resourceSpans":[{"x":1,"resource":{"x":[]},"scopeSpans":[{"x":"","scope":{"x":{}},"spans":[
		{"traceId":"01010101010101010101010101010101","spanId":"0202020202020202","x":true,"attributes":[{"key":"k","x":1,"value":{"stringValue":"v"}}]}]}]}]}`
	if got := ways[4].send(t, addr, otlp.Traces, []byte(body)); got != (reply{HTTP: 200}) {
		t.Errorf("JSON: %+v", got)
	}
	if span := storedSpan(t, pub); span.Attributes().Len() != 1 || span.TraceID() != (pcommon.TraceID(bytes.Repeat([]byte{1}, 16))) {
		t.Errorf("JSON: stored %v", span.Attributes().AsRaw())
	}
}

func storedSpan(t *testing.T, pub *shelf) ptrace.Span {
	t.Helper()
	stored := ptraceotlp.NewExportRequest()
	if all := pub.all(); len(all) != 1 || stored.UnmarshalProto(all[0].Data) != nil {
		t.Fatalf("%d messages are stored", len(all))
	}
	return stored.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
}

// TestJSONPeculiarities sends the forms that OTLP's JSON allows for the same span, and those that it does not.
func TestJSONPeculiarities(t *testing.T) {
	span := func(fields string) string {
		return `{"resourceSpans":[{"scopeSpans":[{"spans":[{` + fields + `}]}]}]}`
	}
	const ids = `"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"`
	tests := []struct {
		name, body string
		check      func(ptrace.Span) any // nil: refused
		want       any
	}{
		{"hex in lower case", span(ids), func(s ptrace.Span) any { return s.TraceID().String() }, "5b8efff798038103d269b633813fc60c"},
		{"hex in upper case", span(`"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174"`), func(s ptrace.Span) any { return s.TraceID().String() + s.SpanID().String() }, "5b8efff798038103d269b633813fc60ceee19b7ec3c1b174"},
		{"times as texts", span(ids + `,"startTimeUnixNano":"1544712660000000001"`), func(s ptrace.Span) any { return int64(s.StartTimestamp()) }, int64(1544712660000000001)},
		{"times as numbers", span(ids + `,"startTimeUnixNano":1544712660000000001`), func(s ptrace.Span) any { return int64(s.StartTimestamp()) }, int64(1544712660000000001)},
		{"int64 as text", span(ids + `,"attributes":[{"key":"k","value":{"intValue":"9223372036854775807"}}]`), func(s ptrace.Span) any { return s.Attributes().AsRaw()["k"] }, int64(9223372036854775807)},
		{"int64 as number", span(ids + `,"attributes":[{"key":"k","value":{"intValue":-9223372036854775808}}]`), func(s ptrace.Span) any { return s.Attributes().AsRaw()["k"] }, int64(-9223372036854775808)},
		{"enums as numbers", span(ids + `,"kind":2,"status":{"code":2}`), func(s ptrace.Span) any { return [2]string{s.Kind().String(), s.Status().Code().String()} }, [2]string{"Server", "Error"}},
		{"bytes in base64", span(ids + `,"attributes":[{"key":"k","value":{"bytesValue":"AQID"}}]`), func(s ptrace.Span) any { return s.Attributes().AsRaw()["k"] }, []byte{1, 2, 3}},
		{"double as number", span(ids + `,"attributes":[{"key":"k","value":{"doubleValue":1}}]`), func(s ptrace.Span) any { return s.Attributes().AsRaw()["k"] }, float64(1)},
		{"field names in snake case, which the collector takes, too", span(ids + `,"dropped_attributes_count":7,"start_time_unix_nano":1`), func(s ptrace.Span) any {
			return [2]uint64{uint64(s.DroppedAttributesCount()), uint64(s.StartTimestamp())}
		}, [2]uint64{7, 1}},
		{"a charset", span(ids), func(s ptrace.Span) any { return s.TraceID().IsEmpty() }, false},
		{"enums by name", span(ids + `,"kind":"SPAN_KIND_SERVER"`), func(s ptrace.Span) any { return s.Kind().String() }, "Server"},
		{"an id in base64", span(`"traceId":"W47/95gDgQPSabYzgT/GDA==","spanId":"eee19b7ec3c1b174"`), nil, nil},
		{"an id cut short", span(`"traceId":"5b8efff798038103d269b633813fc6","spanId":"eee19b7ec3c1b174"`), nil, nil},
		{"two texts", span(ids) + span(ids), nil, nil},
		{"no JSON", `{"resourceSpans":`, nil, nil},
	}
	for _, test := range tests {
		pub := new(shelf)
		_, addr := open(t, pub, Config{})
		resp, err := http.Post("http://"+addr+"/v1/traces", "application/json; charset=utf-8", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if test.check == nil {
			if resp.StatusCode != 400 || len(pub.all()) != 0 {
				t.Errorf("%s: %d, want 400", test.name, resp.StatusCode)
			}
			continue
		}
		if resp.StatusCode != 200 {
			t.Errorf("%s: %d, want 200", test.name, resp.StatusCode)
			continue
		}
		if diff := gocmp.Diff(test.want, test.check(storedSpan(t, pub))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestTransport covers what HTTP allows and proxies do: chunks, trailers, Expect, several requests on a connection, HTTP/1.0.
func TestTransport(t *testing.T) {
	payload := encoded(t, recordsOf(3, 1000))
	pub := new(shelf)
	r, addr := open(t, pub, Config{})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	head := "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
	read := func(what string, want int) {
		t.Helper()
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("%s: %+v, %v, want %d", what, resp, err, want)
		}
		if want != 100 {
			io.Copy(io.Discard, resp.Body)
		}
	}
	fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n%s", head, len(payload), payload)
	read("a length", 200)
	fmt.Fprintf(conn, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", head, 100, payload[:100], len(payload)-100, payload[100:])
	read("chunks", 200)
	fmt.Fprintf(conn, "%sTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n%x\r\n%s\r\n0\r\nX-Sum: 1\r\n\r\n", head, len(payload), payload)
	read("trailers", 200)
	fmt.Fprintf(conn, "%sContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", head, len(payload))
	read("Expect", 100)
	conn.Write(payload)
	read("Expect", 200)
	fmt.Fprintf(conn, "%sContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%s", strings.Replace(head, "1.1", "1.0", 1), len(payload), payload)
	read("HTTP/1.0", 200)
	for _, m := range pub.all() {
		if !bytes.Equal(m.Data, payload) {
			t.Error("a payload differs")
		}
	}
	if st := r.Stats(); len(pub.all()) != 5 || st.Connections != 1 {
		t.Errorf("%d payloads stored over %d connections, want 5 over 1", len(pub.all()), st.Connections)
	}
}

// TestExpectIsAnsweredFirst wants who may not send, or not so much, told before the body.
func TestExpectIsAnsweredFirst(t *testing.T) {
	for want, cfg := range map[int]Config{401: {Gate: closed{}}, 413: {MaxBody: 1000}} {
		_, addr := open(t, new(shelf), cfg)
		var went bool
		trace := &httptrace.ClientTrace{Got100Continue: func() { went = true }, Got1xxResponse: func(int, textproto.MIMEHeader) error { went = true; return nil }}
		req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "POST", "http://"+addr+"/v1/logs", bytes.NewReader(make([]byte, 5000)))
		req.Header = http.Header{"Expect": {"100-continue"}, "Content-Type": {contentTypes[Protobuf]}}
		client := httpClient(t, false)
		client.Transport.(*http.Transport).ExpectContinueTimeout = client.Timeout
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || went {
			t.Errorf("status %d, want %d; asked for the body: %v", resp.StatusCode, want, went)
		}
	}
}

// TestOnePort sends all protocols at once to one address, those of HTTP/2 on one connection.
func TestOnePort(t *testing.T) {
	pub := new(shelf)
	r, addr := open(t, pub, Config{})
	payload, text := encoded(t, recordsOf(1, 10)), asJSON(t, recordsOf(1, 10))
	h1, h2 := httpClient(t, false), httpClient(t, true)
	for range 3 {
		for _, k := range kinds {
			client, body := h1, payload
			if k.h2c {
				client = h2
			}
			switch k.encoding {
			case JSON:
				body = text
			case GRPC:
				body = framed(len(payload), payload)
			}
			req := k.request(t.Context(), otlp.Logs, bytes.NewReader(body), int64(len(body)))
			req.URL.Host = addr
			if got, err := k.do(client, req); err != nil || got != k.accepted() {
				t.Errorf("%s: %+v, %v", k.name, got, err)
			}
		}
	}
	if st := r.Stats(); st.Records.Accepted != 12 || st.Connections != 2 {
		t.Errorf("%d records over %d connections, want 12 over 2", st.Records.Accepted, st.Connections)
	}
	for _, m := range pub.all() {
		if err := plogotlp.NewExportRequest().UnmarshalProto(m.Data); err != nil {
			t.Error(err)
		}
	}
}

// TestResponsesAreNotCompressed wants them plain also for who could read gzip: they have a few bytes.
func TestResponsesAreNotCompressed(t *testing.T) {
	_, addr := open(t, new(shelf), Config{})
	req, _ := http.NewRequest("POST", "http://"+addr+"/v1/traces", bytes.NewReader(encoded(t, spansOf(3, 10, func(int) bool { return true }))))
	req.Header = http.Header{"Accept-Encoding": {"gzip"}, "Content-Type": {contentTypes[Protobuf]}}
	resp, err := httpClient(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	out := ptraceotlp.NewExportResponse()
	if err := out.UnmarshalProto(body); err != nil || out.PartialSuccess().RejectedSpans() != 3 || resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("%q of coding %q: %v", body, resp.Header.Get("Content-Encoding"), err)
	}
}
