package googletest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/trace/apiv2/tracepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tailweir/otlp"
)

type traceService struct {
	tracepb.UnimplementedTraceServiceServer
	s *Server
}

// BatchWriteSpans takes all or nothing: the API has no partial success.
func (t *traceService) BatchWriteSpans(ctx context.Context, r *tracepb.BatchWriteSpansRequest) (*emptypb.Empty, error) {
	err := t.s.handle(ctx, CloudTrace, len(r.Spans), Request{Message: r}, func(*Fault) error { return t.take(r) })
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (t *traceService) take(r *tracepb.BatchWriteSpansRequest) error {
	project, ok := strings.CutPrefix(r.Name, "projects/")
	c := check{}
	c.that(ok && isProject(project), "name: want projects/[PROJECT_ID]")
	c.atMost("spans", len(r.Spans), MaxTraceSpans)
	if c.err != nil {
		return status.Error(codes.InvalidArgument, c.err.Error())
	}
	now := t.s.cfg.Now()
	keys := make([]spanKey, len(r.Spans))
	for i, sp := range r.Spans {
		var err error
		if keys[i], err = checkSpan(project, sp, now); err != nil {
			return status.Errorf(codes.InvalidArgument, "spans[%d].%v", i, err)
		}
	}
	if err := heard(t.s.cfg.OnSpans, r.Spans); err != nil {
		return err
	}
	for i, sp := range r.Spans {
		t.s.store.span(t.s.cfg.Discard, keys[i], Span{Message: sp})
	}
	return nil
}

// checkSpan returns the first limit that a span exceeds.
func checkSpan(project string, sp *tracepb.Span, now time.Time) (spanKey, error) {
	key, err := parseSpanName(sp.Name)
	c := check{err: err}
	c.that(key.project == project, "name: of another project than the request's")
	c.that(sp.SpanId == key.span.String(), "span_id: not that of the name")
	c.that(sp.ParentSpanId == "" || isID(sp.ParentSpanId, spanIDDigits), "parent_span_id: want 16 hex digits, not all zero, or nothing")
	c.that(sp.DisplayName != nil, "display_name: required")
	c.text("display_name", sp.DisplayName.GetValue(), MaxTraceDisplayName)
	c.time("start_time", sp.StartTime)
	c.time("end_time", sp.EndTime)
	c.age("start_time", sp.StartTime.AsTime(), now, MaxSpanAge, MaxSpanFuture)
	c.attributes(sp.Attributes)
	c.timeEvents(sp.TimeEvents)
	c.links(sp.Links)
	c.atMost("stack_trace: frames", len(sp.StackTrace.GetStackFrames().GetFrame()), MaxTraceFrames)
	_, known := tracepb.Span_SpanKind_name[int32(sp.SpanKind)]
	c.that(known, "span_kind: unknown")
	return key, c.err
}

// parseSpanName reads projects/[PROJECT_ID]/traces/[TRACE_ID]/spans/[SPAN_ID].
func parseSpanName(name string) (key spanKey, err error) {
	parts := strings.Split(name, "/")
	if len(parts) != 6 || parts[0] != "projects" || parts[2] != "traces" || parts[4] != "spans" ||
		!isProject(parts[1]) || !isID(parts[3], traceIDDigits) || !isID(parts[5], spanIDDigits) {
		return key, fmt.Errorf("name: %q, want projects/[PROJECT_ID]/traces/[32 hex digits]/spans/[16 hex digits]", name)
	}
	return newSpanKey(parts[1], parts[3], parts[5]), nil
}

func (c *check) time(what string, t *timestamppb.Timestamp) {
	if c.err == nil && !t.IsValid() { // as nil is not
		c.err = fmt.Errorf("%s: missing, or not a time", what)
	}
}

func (c *check) attributes(a *tracepb.Span_Attributes) {
	c.atMost("attributes", len(a.GetAttributeMap()), MaxTraceAttributes)
	for k, v := range a.GetAttributeMap() {
		c.that(k != "", "attributes: a key is empty")
		c.text("attributes: bytes of a key", k, MaxTraceAttributeKey)
		c.that(v.GetValue() != nil, "attributes: a value is missing")
		if s, ok := v.GetValue().(*tracepb.AttributeValue_StringValue); ok {
			c.text("attributes: bytes of a value", s.StringValue.GetValue(), MaxTraceAttributeValue)
		}
	}
}

func (c *check) timeEvents(events *tracepb.Span_TimeEvents) {
	annotations, messages := 0, 0
	for _, e := range events.GetTimeEvent() {
		c.time("time_events: time", e.Time)
		switch v := e.Value.(type) {
		case *tracepb.Span_TimeEvent_Annotation_:
			annotations++
			c.text("time_events: bytes of a description", v.Annotation.GetDescription().GetValue(), MaxTraceAnnotationText)
			c.attributes(v.Annotation.GetAttributes())
		case *tracepb.Span_TimeEvent_MessageEvent_:
			messages++
		default:
			c.that(false, "time_events: neither an annotation nor a message event")
		}
	}
	c.atMost("time_events: annotations", annotations, MaxTraceAnnotations)
	c.atMost("time_events: message events", messages, MaxTraceMessageEvents)
}

func (c *check) links(links *tracepb.Span_Links) {
	c.atMost("links", len(links.GetLink()), MaxTraceLinks)
	for _, l := range links.GetLink() {
		c.that(isID(l.TraceId, traceIDDigits), "links: trace_id: want 32 hex digits, not all zero")
		c.that(isID(l.SpanId, spanIDDigits), "links: span_id: want 16 hex digits, not all zero")
		c.attributes(l.Attributes)
	}
}

// newSpanKey is of ids that isID is true of.
func newSpanKey(project, trace, span string) spanKey {
	k := spanKey{project: project}
	k.trace, _ = otlp.ParseTraceID(trace)
	k.span = parseSpanID(span)
	return k
}
