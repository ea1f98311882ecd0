package cloudlogging

import (
	"bytes"
	"strconv"

	loggingpb "cloud.google.com/go/logging/apiv2/loggingpb"
	ltype "google.golang.org/genproto/googleapis/logging/type"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"tailweir/exporter"
	"tailweir/otlp"
)

// slot is an attribute that an entry has a field for.
type slot uint8

const (
	logName slot = iota
	traceSampled
	httpRequest
	operation
	sourceLocation
	codeFile
	codeLine
	codeFunction
	codeNamespace
	stackTrace
	httpMethod
	httpStatus
	urlFull
	urlPath
	urlQuery
	urlScheme
	serverAddress
	serverPort
	clientAddress
	userAgent
	requestSize
	responseSize
	slots
)

// slotOf knows the attributes of Google's own exporters, and today's and yesterday's semantic conventions.
var slotOf = map[string]slot{
	"gcp.log_name": logName, "gcp.trace_sampled": traceSampled, "gcp.http_request": httpRequest, "gcp.operation": operation,
	"gcp.source_location": sourceLocation,
	"code.file.path":      codeFile, "code.filepath": codeFile,
	"code.line.number": codeLine, "code.lineno": codeLine,
	"code.function.name": codeFunction, "code.function": codeFunction, "code.namespace": codeNamespace,
	"exception.stacktrace": stackTrace,
	"http.request.method":  httpMethod, "http.method": httpMethod,
	"http.response.status_code": httpStatus, "http.status_code": httpStatus,
	"url.full": urlFull, "http.url": urlFull,
	"url.path": urlPath, "http.target": urlPath,
	"url.query":  urlQuery,
	"url.scheme": urlScheme, "http.scheme": urlScheme,
	"server.address": serverAddress, "net.host.name": serverAddress,
	"server.port": serverPort, "net.host.port": serverPort,
	"client.address": clientAddress, "http.client_ip": clientAddress,
	"user_agent.original": userAgent, "http.user_agent": userAgent,
	"http.request.body.size": requestSize, "http.request_content_length": requestSize,
	"http.response.body.size": responseSize, "http.response_content_length": responseSize,
}

// special gathers those attributes of a record. A field takes what it can hold in full; what no field took is a label in
// the end, like any other attribute.
type special struct {
	set  uint32 // by slot
	keys [slots][]byte
	vals [slots]otlp.Value
}

// gather takes the attribute if there is a slot for it that is free.
func (s *special) gather(key []byte, v otlp.Value) bool {
	at, ok := slotOf[string(key)]
	if !ok || s.has(at) {
		return false
	}
	s.set |= 1 << at
	s.keys[at], s.vals[at] = key, v
	return true
}

func (s *special) has(at slot) bool { return s.set&(1<<at) != 0 }

func (s *special) took(at ...slot) {
	for _, a := range at {
		s.set &^= 1 << a
	}
}

// str returns the text in the slot, "" for anything else.
func (s *special) str(at slot) string {
	if !s.has(at) || s.vals[at].Kind() != otlp.String {
		return ""
	}
	return text(s.vals[at].Str())
}

// count returns the integer in the slot, -1 for anything else.
func (s *special) count(at slot) int64 {
	if !s.has(at) || s.vals[at].Kind() != otlp.Int || s.vals[at].Int() < 0 {
		return -1
	}
	return s.vals[at].Int()
}

// json reads the map or the JSON text in the slot into m. Only what m can hold in full is taken.
func (s *special) json(at slot, m proto.Message) bool {
	if !s.has(at) {
		return false
	}
	b := s.vals[at].Str()
	if s.vals[at].Kind() == otlp.Map {
		b = s.vals[at].AppendJSON(nil)
	}
	if len(b) == 0 || protojson.Unmarshal(b, m) != nil {
		return false
	}
	s.took(at)
	return true
}

// fields sets what of the entry the gathered attributes say.
func (s *special) fields(e *loggingpb.LogEntry) {
	if s.set == 0 {
		return
	}
	if op := new(loggingpb.LogEntryOperation); s.json(operation, op) {
		e.Operation = op
	}
	if at := new(loggingpb.LogEntrySourceLocation); s.json(sourceLocation, at) {
		e.SourceLocation = at
	} else {
		e.SourceLocation = s.code()
	}
	if r := new(ltype.HttpRequest); s.json(httpRequest, r) {
		e.HttpRequest = r
	} else {
		e.HttpRequest = s.http()
	}
}

// code is the source location by the semantic conventions, nil for none. Before code.function.name was qualified, code.namespace
// stood before code.function.
func (s *special) code() *loggingpb.LogEntrySourceLocation {
	at := &loggingpb.LogEntrySourceLocation{File: s.str(codeFile), Function: s.str(codeFunction)}
	if at.File != "" {
		s.took(codeFile)
	}
	if line := s.count(codeLine); line > 0 {
		at.Line = line
		s.took(codeLine)
	}
	if at.Function != "" {
		if ns := s.str(codeNamespace); ns != "" && string(s.keys[codeFunction]) == "code.function" {
			at.Function = ns + "." + at.Function
			s.took(codeNamespace)
		}
		s.took(codeFunction)
	}
	if at.File == "" && at.Line == 0 && at.Function == "" {
		return nil
	}
	return at
}

// http is the request by the semantic conventions, nil unless the record is plainly about one whole exchange: it has the
// method, the status of the answer and a URL or its path. A record that only mentions a method is about something else, and
// the console shows a httpRequest in place of the text.
func (s *special) http() *ltype.HttpRequest {
	method, status := s.str(httpMethod), s.count(httpStatus)
	if method == "" || status < 100 || status > 599 {
		return nil
	}
	url := s.url()
	if url == "" {
		return nil
	}
	r := &ltype.HttpRequest{RequestMethod: method, Status: int32(status), RequestUrl: url}
	s.took(httpMethod, httpStatus)
	if r.UserAgent = s.str(userAgent); r.UserAgent != "" {
		s.took(userAgent)
	}
	if r.RemoteIp = s.str(clientAddress); r.RemoteIp != "" {
		s.took(clientAddress)
	}
	if r.RequestSize = max(0, s.count(requestSize)); r.RequestSize > 0 {
		s.took(requestSize)
	}
	if r.ResponseSize = max(0, s.count(responseSize)); r.ResponseSize > 0 {
		s.took(responseSize)
	}
	return r
}

// url is the URL, or put together from its parts as far as they are there: host and scheme only both.
func (s *special) url() string {
	if url := s.str(urlFull); url != "" {
		s.took(urlFull)
		return url
	}
	url := s.str(urlPath)
	if url == "" {
		return ""
	}
	s.took(urlPath)
	if q := s.str(urlQuery); q != "" {
		url += "?" + q
		s.took(urlQuery)
	}
	scheme, host := s.str(urlScheme), s.str(serverAddress)
	if scheme == "" || host == "" || url[0] != '/' {
		return url
	}
	s.took(urlScheme, serverAddress)
	if port := s.count(serverPort); port > 0 {
		host += ":" + strconv.FormatInt(port, 10)
		s.took(serverPort)
	}
	return scheme + "://" + host + url
}

// sampled is what is known about the trace: the decision, else what the record itself says by gcp.trace_sampled, else by its W3C flag.
func (s *special) sampled(part *exporter.Part, flags uint32) bool {
	said := s.has(traceSampled) && s.vals[traceSampled].Kind() == otlp.Bool
	if said {
		s.took(traceSampled)
	}
	switch {
	case part.Decided:
		return part.Kept
	case said:
		return s.vals[traceSampled].Bool()
	}
	return flags&1 != 0
}

// stack returns the stack trace for the payload, unless the body has it already.
func (s *special) stack(body otlp.Value) string {
	trace := s.str(stackTrace)
	if trace == "" {
		return ""
	}
	s.took(stackTrace)
	if bytes.Contains(body.Str(), s.vals[stackTrace].Str()) {
		return ""
	}
	return trace
}

// rest makes labels of the attributes that no field took.
func (s *special) rest(l *labels) {
	if s.set == 0 {
		return
	}
	for at := range slots {
		if s.has(at) {
			l.add(s.keys[at], s.vals[at])
		}
	}
}
