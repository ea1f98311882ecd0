package googletest

import (
	"fmt"
	"testing"
	"time"

	"cloud.google.com/go/trace/apiv2/tracepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// attributesOf are n attributes, or one with so long a key and a value.
func attributesOf(n, key, value int) *tracepb.Span_Attributes {
	a := &tracepb.Span_Attributes{AttributeMap: map[string]*tracepb.AttributeValue{}}
	for i := range n {
		a.AttributeMap[fmt.Sprintf("%0*d", key, i)] = &tracepb.AttributeValue{Value: &tracepb.AttributeValue_StringValue{StringValue: text(long(value))}}
	}
	return a
}

func annotations(n, description int, a *tracepb.Span_Attributes) *tracepb.Span_TimeEvents {
	events := new(tracepb.Span_TimeEvents)
	for range n {
		events.TimeEvent = append(events.TimeEvent, &tracepb.Span_TimeEvent{Time: timestamppb.New(today), Value: &tracepb.Span_TimeEvent_Annotation_{
			Annotation: &tracepb.Span_TimeEvent_Annotation{Description: text(long(description)), Attributes: a},
		}})
	}
	return events
}

func messageEvents(n int) *tracepb.Span_TimeEvents {
	events := new(tracepb.Span_TimeEvents)
	for range n {
		events.TimeEvent = append(events.TimeEvent, &tracepb.Span_TimeEvent{Time: timestamppb.New(today), Value: &tracepb.Span_TimeEvent_MessageEvent_{}})
	}
	return events
}

func linksOf(n int, a *tracepb.Span_Attributes) *tracepb.Span_Links {
	links := new(tracepb.Span_Links)
	for range n {
		links.Link = append(links.Link, &tracepb.Span_Link{TraceId: traceHex, SpanId: spanHex, Attributes: a})
	}
	return links
}

// Each limit is just met, and just exceeded.
func TestCloudTraceLimits(t *testing.T) {
	f := start(t, Config{})
	for _, tt := range []struct {
		name  string
		limit int
		set   func(sp *tracepb.Span, n int)
	}{
		{"display name", 1024, func(sp *tracepb.Span, n int) { sp.DisplayName = text(long(n)) }},
		{"attributes", 1024, func(sp *tracepb.Span, n int) { sp.Attributes = attributesOf(n, 5, 1) }},
		{"attribute key", 512, func(sp *tracepb.Span, n int) { sp.Attributes = attributesOf(1, n, 1) }},
		{"attribute value", 65_532, func(sp *tracepb.Span, n int) { sp.Attributes = attributesOf(1, 1, n) }},
		{"annotations", 256, func(sp *tracepb.Span, n int) { sp.TimeEvents = annotations(n, 1, nil) }},
		{"message events", 128, func(sp *tracepb.Span, n int) { sp.TimeEvents = messageEvents(n) }},
		{"annotation description", 1024, func(sp *tracepb.Span, n int) { sp.TimeEvents = annotations(1, n, nil) }},
		{"annotation attributes", 1024, func(sp *tracepb.Span, n int) { sp.TimeEvents = annotations(1, 1, attributesOf(n, 5, 1)) }},
		{"annotation attribute value", 65_532, func(sp *tracepb.Span, n int) { sp.TimeEvents = annotations(1, 1, attributesOf(1, 1, n)) }},
		{"links", 128, func(sp *tracepb.Span, n int) { sp.Links = linksOf(n, nil) }},
		{"link attributes", 1024, func(sp *tracepb.Span, n int) { sp.Links = linksOf(1, attributesOf(n, 5, 1)) }},
		{"frames", 128, func(sp *tracepb.Span, n int) {
			sp.StackTrace = &tracepb.StackTrace{StackFrames: &tracepb.StackTrace_StackFrames{Frame: make([]*tracepb.StackTrace_StackFrame, n)}}
			for i := range n {
				sp.StackTrace.StackFrames.Frame[i] = &tracepb.StackTrace_StackFrame{}
			}
		}},
		{"past", int(14 * 24 * time.Hour), func(sp *tracepb.Span, n int) { sp.StartTime = timestamppb.New(today.Add(-time.Duration(n))) }},
		{"future", int(3 * 24 * time.Hour), func(sp *tracepb.Span, n int) { sp.StartTime = timestamppb.New(today.Add(time.Duration(n))) }},
	} {
		met, exceeded := newSpan(), newSpan()
		tt.set(met, tt.limit)
		tt.set(exceeded, tt.limit+1)
		wantCode(t, tt.name+" met", f.writeSpans(t, met), codes.OK)
		written := f.Stats().Spans
		wantCode(t, tt.name+" exceeded", f.writeSpans(t, newSpan(), exceeded), codes.InvalidArgument)
		if n := f.Stats().Spans; n != written {
			t.Errorf("%s: %d spans of a refused request were written", tt.name, n-written)
		}
	}
}

func TestCloudTraceFormats(t *testing.T) {
	f := start(t, Config{})
	const at = "projects/shop/traces/" + traceHex + "/spans/"
	for _, tt := range []struct {
		name string
		set  func(*tracepb.Span)
		code codes.Code
	}{
		{"as it should be", func(*tracepb.Span) {}, codes.OK},
		{"parent", func(sp *tracepb.Span) { sp.ParentSpanId = "00000000000000bb" }, codes.OK},
		{"no display name", func(sp *tracepb.Span) { sp.DisplayName = nil }, codes.InvalidArgument},
		{"no start", func(sp *tracepb.Span) { sp.StartTime = nil }, codes.InvalidArgument},
		{"no end", func(sp *tracepb.Span) { sp.EndTime = nil }, codes.InvalidArgument},
		{"no time", func(sp *tracepb.Span) { sp.EndTime = &timestamppb.Timestamp{Seconds: 1, Nanos: 1e9} }, codes.InvalidArgument},
		{"other project", func(sp *tracepb.Span) { sp.Name = "projects/other/traces/" + traceHex + "/spans/" + spanHex }, codes.InvalidArgument},
		{"other span", func(sp *tracepb.Span) { sp.SpanId = "00000000000000bb" }, codes.InvalidArgument},
		{"no project", func(sp *tracepb.Span) { sp.Name = "projects//traces/" + traceHex + "/spans/" + spanHex }, codes.InvalidArgument},
		{"no name", func(sp *tracepb.Span) { sp.Name = "" }, codes.InvalidArgument},
		{"short span id", func(sp *tracepb.Span) { sp.Name, sp.SpanId = at+"aa", "aa" }, codes.InvalidArgument},
		{"zero span id", func(sp *tracepb.Span) { sp.Name, sp.SpanId = at+"0000000000000000", "0000000000000000" }, codes.InvalidArgument},
		{"upper case", func(sp *tracepb.Span) { sp.Name, sp.SpanId = at+"00000000000000AA", "00000000000000AA" }, codes.InvalidArgument},
		{"zero trace id", func(sp *tracepb.Span) {
			sp.Name = "projects/shop/traces/00000000000000000000000000000000/spans/" + spanHex
		}, codes.InvalidArgument},
		{"zero parent", func(sp *tracepb.Span) { sp.ParentSpanId = "0000000000000000" }, codes.InvalidArgument},
		{"unknown kind", func(sp *tracepb.Span) { sp.SpanKind = 6 }, codes.InvalidArgument},
		{"empty key", func(sp *tracepb.Span) {
			sp.Attributes = &tracepb.Span_Attributes{AttributeMap: map[string]*tracepb.AttributeValue{"": {Value: &tracepb.AttributeValue_BoolValue{}}}}
		}, codes.InvalidArgument},
		{"value without one", func(sp *tracepb.Span) {
			sp.Attributes = &tracepb.Span_Attributes{AttributeMap: map[string]*tracepb.AttributeValue{"k": {}}}
		}, codes.InvalidArgument},
		{"event of no kind", func(sp *tracepb.Span) {
			sp.TimeEvents = &tracepb.Span_TimeEvents{TimeEvent: []*tracepb.Span_TimeEvent{{Time: timestamppb.New(today)}}}
		}, codes.InvalidArgument},
		{"event without time", func(sp *tracepb.Span) { sp.TimeEvents = annotations(1, 1, nil); sp.TimeEvents.TimeEvent[0].Time = nil }, codes.InvalidArgument},
		{"link to no span", func(sp *tracepb.Span) { sp.Links = linksOf(1, nil); sp.Links.Link[0].SpanId = "" }, codes.InvalidArgument},
		{"link to no trace", func(sp *tracepb.Span) { sp.Links = linksOf(1, nil); sp.Links.Link[0].TraceId = "" }, codes.InvalidArgument},
	} {
		sp := newSpan()
		tt.set(sp)
		wantCode(t, tt.name, f.writeSpans(t, sp), tt.code)
	}
}

func TestCloudTraceRequests(t *testing.T) {
	f := start(t, Config{Discard: true})
	many := make([]*tracepb.Span, 25_001)
	for i := range many {
		many[i] = newSpan()
	}
	wantCode(t, "25,000 spans", f.writeSpans(t, many[:25_000]...), codes.OK)
	wantCode(t, "25,001 spans", f.writeSpans(t, many...), codes.InvalidArgument)

	client := tracepb.NewTraceServiceClient(f.conn)
	for name, code := range map[string]codes.Code{"projects/shop": codes.OK, "shop": codes.InvalidArgument, "projects/": codes.InvalidArgument, "projects/a shop": codes.InvalidArgument} {
		_, err := client.BatchWriteSpans(t.Context(), &tracepb.BatchWriteSpansRequest{Name: name})
		wantCode(t, "name "+name, err, code)
	}
	r := &tracepb.BatchWriteSpansRequest{Name: "projects/shop"}
	for range 200 {
		sp := newSpan()
		sp.Attributes = attributesOf(1, 1, 40_000)
		r.Spans = append(r.Spans, sp)
	}
	large := grow(r, func(s string) {
		r.Spans[0].Status = statusOf(s) // has no limit of its own
	})
	large(10_000_000)
	_, err := client.BatchWriteSpans(t.Context(), r)
	wantCode(t, "10 MB", err, codes.OK)
	large(10_000_001)
	_, err = client.BatchWriteSpans(t.Context(), r)
	wantCode(t, "10 MB and 1 B", err, codes.InvalidArgument)
}
