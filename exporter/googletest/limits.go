package googletest

import "time"

// What the APIs accept, as documented. Where two pages differ the newer one counts, and where the unit is open ("KB") the
// smaller reading. Google says of some limits that exceeding them "may not produce an API error"; the fakes always answer one.

// Of every API.
const (
	// MaxRequestBytes is documented for entries.write ("request size: 10 MB"); the other two have no number of their own, but the
	// same front end.
	MaxRequestBytes = 10_000_000
)

// Cloud Trace API v2. Sources: cloud.google.com/trace/docs/quotas, and where it says nothing the limits to which
// Google's own exporter cuts (opentelemetry-operations-go exporter/trace v1.38.0) or the comments of trace.proto. Those comments
// have smaller numbers for what the two others name (32 attributes of 128 and 256 B, a display name of 128 B, 32 annotations with 4
// attributes each): they are from before the limits were raised.
const (
	MaxTraceSpans          = 25_000 // in a request: the quota page, of PatchTraces; BatchWriteSpans has none of its own
	MaxTraceDisplayName    = 1024   // bytes: the exporter
	MaxTraceAttributes     = 1024   // of a span, an annotation or a link: the quota page
	MaxTraceAttributeKey   = 512    // bytes: the quota page
	MaxTraceAttributeValue = 65_532 // bytes: the quota page; the exporter cuts to 65,536
	MaxTraceAnnotations    = 256    // the quota page and the exporter
	MaxTraceMessageEvents  = 128    // trace.proto
	MaxTraceAnnotationText = 1024   // bytes of a description: the exporter
	MaxTraceLinks          = 128    // trace.proto and the exporter
	MaxTraceFrames         = 128    // of a stack trace: trace.proto
	MaxSpanAge             = 14 * 24 * time.Hour
	MaxSpanFuture          = 3 * 24 * time.Hour
	traceIDDigits          = 32
	spanIDDigits           = 16
)

// Cloud Logging API v2. Sources: cloud.google.com/logging/quotas, log_entry.proto, logging.proto.
const (
	MaxEntryBytes      = 256_000 // "256 KB", approximate, after the request's defaults were copied into the entry
	MaxEntries         = 1000    // in a request: seen by users, in no page
	MaxLabels          = 64      // of an entry
	MaxLabelKey        = 512     // bytes; the API shortens longer ones
	MaxLabelValue      = 64_000  // bytes, "64 KB"; the API shortens longer ones
	MaxLogID           = 511     // characters, decoded: "less than 512"
	MaxInsertID        = 512     // characters
	MaxEntryAge        = 30 * 24 * time.Hour
	MaxEntryFuture     = 24 * time.Hour
	insertIDCharacters = "-_."  // beside letters and digits
	logIDCharacters    = "/-_." // beside letters and digits
)

// Telemetry (OTLP) API. Source: docs.cloud.google.com/stackdriver/quotas; ages as for the services that it writes to, log records
// as for Cloud Logging.
const (
	MaxOTLPSpanName           = 1024   // bytes
	MaxOTLPAttributeKey       = 512    // bytes
	MaxOTLPAttributeValue     = 65_536 // bytes, "64 KiB"
	MaxOTLPAttributes         = 1024   // of a resource, a span, an event or a link
	MaxOTLPResourceAttributes = 8192   // of a ResourceSpans in all
	MaxOTLPEvents             = 256    // of a span
	MaxOTLPLinks              = 128    // of a span

	// AttrProject is the resource attribute that names the project, without which the API refuses a request.
	AttrProject = "gcp.project_id"
)
