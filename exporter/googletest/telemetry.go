package googletest

import (
	"math"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tailweir/otlp"
)

var payloads = sync.Pool{New: func() any { return new(otlp.Payload) }}

// export takes a request of the Telemetry API and returns the encoded response.
func (s *Server) export(stream grpc.ServerStream, signal otlp.Signal, request []byte) (response []byte, err error) {
	p := payloads.Get().(*otlp.Payload)
	defer payloads.Put(p)
	malformed := p.Scan(signal, request)
	err = s.handle(stream.Context(), Telemetry, p.Len(), Request{Signal: signal, OTLP: request}, func(*Fault) (err error) {
		if malformed != nil {
			return status.Error(codes.InvalidArgument, malformed.Error())
		}
		response, err = s.takeOTLP(p)
		return err
	})
	return response, err
}

// takeOTLP returns the encoded response.
func (s *Server) takeOTLP(p *otlp.Payload) (response []byte, err error) {
	projects, err := checkProjects(p)
	if err != nil {
		return nil, err
	}
	refused, rejected, first := s.checkItems(p)
	accepted := p.Bytes()
	if rejected > 0 {
		accepted = otlp.Select(p, func(i int32) bool { return !refused[i] })
	}
	if hook := s.cfg.OnExport; hook != nil && rejected < p.Len() {
		if err := hook(p.Signal(), accepted); err != nil {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
	}
	s.storeOTLP(p, projects, refused)
	return exportResponse(rejected, first)
}

// checkItems says which items exceed a limit, how many those are, and what was wrong with the first.
func (s *Server) checkItems(p *otlp.Payload) (refused []bool, rejected int, first error) {
	now, resources := s.cfg.Now(), checkResources(p)
	refused = make([]bool, p.Len())
	for i := range int32(p.Len()) {
		err := resources[resourceIndex(p, i)]
		if err == nil {
			err = checkItem(p, i, now)
		}
		if err == nil {
			continue
		}
		if rejected++; first == nil {
			first = err
		}
		refused[i] = true
	}
	return refused, rejected, first
}

func (s *Server) storeOTLP(p *otlp.Payload, projects []string, refused []bool) {
	for i := range int32(p.Len()) {
		if refused[i] {
			continue
		}
		var alone []byte
		if !s.cfg.Discard {
			alone = otlp.Select(p, func(j int32) bool { return j == i })
		}
		project := projects[resourceIndex(p, i)]
		if p.Signal() == otlp.Logs {
			s.store.record(s.cfg.Discard, Record{Project: project, OTLP: alone})
			continue
		}
		span := p.Span(i)
		s.store.span(s.cfg.Discard, spanKey{project, span.TraceID(), span.SpanID()}, Span{OTLP: alone})
	}
}

// checkProjects returns the project of each resource.
func checkProjects(p *otlp.Payload) ([]string, error) {
	projects := make([]string, p.Resources())
	for r := range projects {
		v, _ := p.Resource(int32(r)).Attribute(AttrProject)
		projects[r] = string(v.Str())
		if v.Kind() != otlp.String || projects[r] == "" {
			return nil, status.Errorf(codes.InvalidArgument, "Resource is missing required attribute %q", AttrProject)
		}
	}
	return projects, nil
}

// checkResources returns for each resource the first limit that it exceeds, or all its spans together.
func checkResources(p *otlp.Payload) []error {
	own, all := make([]check, p.Resources()), make([]int, p.Resources())
	for r := range own {
		n := 0
		for k, v := range p.Resource(int32(r)).Attributes() {
			n++
			own[r].attribute(k, v)
		}
		own[r].atMost("resource: attributes", n, MaxOTLPAttributes)
		all[r] = n
	}
	for i := range int32(p.Len()) {
		if p.Signal() == otlp.Traces {
			for range p.Span(i).Attributes() {
				all[p.Span(i).ResourceIndex()]++
			}
		}
	}
	errs := make([]error, len(own))
	for r := range own {
		own[r].atMost("resource_spans: attributes in all", all[r], MaxOTLPResourceAttributes)
		errs[r] = own[r].err
	}
	return errs
}

// resourceIndex is the number of an item's resource, which views of spans and of records read alike.
func resourceIndex(p *otlp.Payload, i int32) int32 { return p.Span(i).ResourceIndex() }

func checkItem(p *otlp.Payload, i int32, now time.Time) error {
	if p.Signal() == otlp.Logs {
		return checkRecord(p.Record(i), now)
	}
	return checkOTLPSpan(p.Span(i), now)
}

func checkOTLPSpan(sp otlp.Span, now time.Time) error {
	c := check{}
	c.that(sp.Valid(), "span: trace id or span id missing")
	c.text("span: bytes of the name", string(sp.Name()), MaxOTLPSpanName)
	c.age("span: start time", unixTime(sp.Start()), now, MaxSpanAge, MaxSpanFuture)
	c.otlpAttributes("span: attributes", sp.Attributes())
	events, links := 0, 0
	for e := range sp.Events() {
		events++
		c.otlpAttributes("span: attributes of an event", e.Attributes())
	}
	for l := range sp.Links() {
		links++
		c.otlpAttributes("span: attributes of a link", l.Attributes())
	}
	c.atMost("span: events", events, MaxOTLPEvents)
	c.atMost("span: links", links, MaxOTLPLinks)
	return c.err
}

// checkRecord reads a record as the entry that becomes of it.
func checkRecord(r otlp.Record, now time.Time) error {
	c := check{}
	c.atMost("record: size", r.Size(), MaxEntryBytes)
	at := r.Time()
	if at == 0 {
		at = r.ObservedTime()
	}
	if at != 0 {
		c.age("record: time", unixTime(at), now, MaxEntryAge, MaxEntryFuture)
	}
	c.otlpAttributes("record: attributes", r.Attributes())
	return c.err
}

// unixTime has the latest time that there is for what is later.
func unixTime(ns uint64) time.Time { return time.Unix(0, int64(min(ns, math.MaxInt64))) }

func (c *check) otlpAttributes(what string, all func(func([]byte, otlp.Value) bool)) {
	n := 0
	for k, v := range all {
		n++
		c.attribute(k, v)
	}
	c.atMost(what, n, MaxOTLPAttributes)
}

func (c *check) attribute(key []byte, v otlp.Value) {
	c.that(len(key) > 0, "attribute: a key is empty")
	c.text("attribute: bytes of a key", string(key), MaxOTLPAttributeKey)
	switch v.Kind() {
	case otlp.String:
		c.text("attribute: bytes of a value", string(v.Str()), MaxOTLPAttributeValue)
	case otlp.Bytes:
		c.atMost("attribute: bytes of a value", len(v.Str()), MaxOTLPAttributeValue)
	case otlp.Array, otlp.Map:
		c.atMost("attribute: bytes of a value", len(v.String()), MaxOTLPAttributeValue)
	}
}

// exportResponse encodes the response, which is the same message for both signals; it is empty when all was taken.
func exportResponse(rejected int, why error) ([]byte, error) {
	if rejected == 0 {
		return nil, nil
	}
	res := ptraceotlp.NewExportResponse()
	res.PartialSuccess().SetRejectedSpans(int64(rejected))
	res.PartialSuccess().SetErrorMessage(why.Error())
	return res.MarshalProto()
}
