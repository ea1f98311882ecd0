package cloudtrace

// Limits of spans, by docs.cloud.google.com/trace/docs/quotas, and where that says nothing by what version 1.38.0 of the
// package cuts to (trace_proto.go there), which was raised in August 2026 to what the backend takes as OTLP (pull request
// 1186 of opentelemetry-operations-go). The comments of trace.proto, and older copies of that page, still say 32 attributes,
// 128 bytes for a key and 256 for a value. The package leaves alone how many attributes there are, and lets values have four
// bytes more.
const (
	maxName       = 1024  // bytes of a span's or an event's name
	maxKey        = 512   // bytes
	maxValue      = 65532 // bytes of a string
	maxEvents     = 256
	maxLinks      = 128
	maxAttributes = 1024 // of a span, an event or a link
)

// Limits of a request. None is documented for BatchWriteSpans (25,000 spans for the older PatchTraces). 4 MiB is what gRPC
// servers take where nobody says otherwise. Each request costs one of a project's 4,800 writes a minute, whatever is in it.
const (
	maxRequestSpans = 5000
	maxRequestBytes = 4 << 20
	maxSpanBytes    = 9_500_000 // of one that goes alone: Google's front ends take requests of 10 MB
)

// Upper bounds of the encoded sizes, in bytes, beside the texts.
const (
	sizeOfSpan      = 320 // ids, times, status, kind and the lengths of all
	sizeOfAttribute = 32
	sizeOfEvent     = 48
	sizeOfLink      = 80
)
