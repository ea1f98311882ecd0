package exporter

import (
	"net/http"
	"regexp"
	"strings"

	"google.golang.org/grpc/codes"
)

// Verdict says what an attempt's failure is about, and by that what becomes of the data.
type Verdict uint8

// The verdicts.
const (
	Refused    Verdict = iota // the data, or its size: it will never be taken, but pieces of it may
	Rejected                  // the data, item by item: no piece of it will be taken
	Busy                      // the backend or the network: passes by itself
	Quota                     // a rate or an allowance: passes by itself, the sooner the fewer requests are sent
	Unsure                    // either the backend or the data: tried some times, then Refused
	NoAccess                  // the credentials or the account: passes when somebody has mended it
	NoEndpoint                // the endpoint: passes when somebody has mended it
)

// held reports whether the data is kept and tried again.
func (v Verdict) held() bool { return v >= Busy }

// advice is what somebody has to do, "" when nothing.
func (v Verdict) advice() string {
	switch v {
	case NoAccess:
		return "check the exporter's credentials or headers, and what their account may do; the data is held until then"
	case NoEndpoint:
		return "check the exporter's endpoint, its path and its project, or leave the signal out of its signals if the backend does not take it; the data is held until then"
	}
	return ""
}

// httpVerdict and CodeVerdict hold more than the OTLP specification's lists of retryable codes ("Failures"), which
// suit a sender without a store: it must drop what it cannot deliver soon. Here Pub/Sub keeps the backlog, for
// days, and what is refused becomes a dead letter. So only what may be the data's fault is refused; a revoked key
// or a mistyped path would send the whole stream to the dead letters, to be replayed by hand. Beyond OTLP held are:
//
//   - 401, 402, 403, 407, 431, UNAUTHENTICATED, PERMISSION_DENIED: they speak of headers and accounts;
//   - redirects (never followed, see newHTTPSender), 404, 405, 406, 410, 414, 421, 426, 501, 505, NOT_FOUND,
//     UNIMPLEMENTED: no OTLP server for this signal answers so;
//   - 408, 425, and of 5xx all but 500: the backend, or a proxy before it, had no time, no disk, no origin;
//   - 2xx with a web page: a login or a server that answers so to any path, see webPage;
//   - RESOURCE_EXHAUSTED without RetryInfo, unless its text speaks of the size: see below.
//
// 500, INTERNAL and UNKNOWN stay refused as in OTLP: some backends answer so to one span that they cannot digest,
// which would be tried for ever. So do 4xx codes of no known meaning.
func httpVerdict(status int) Verdict {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return Busy
	case http.StatusTooManyRequests:
		return Quota
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusProxyAuthRequired,
		http.StatusRequestHeaderFieldsTooLarge:
		return NoAccess
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone, http.StatusRequestURITooLong,
		http.StatusMisdirectedRequest, http.StatusUpgradeRequired, http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return NoEndpoint
	case http.StatusInternalServerError:
		return Refused
	}
	switch status / 100 {
	case 1, 3:
		return NoEndpoint
	case 5:
		return Busy
	}
	return Refused
}

// CodeVerdict is httpVerdict for OTLP/gRPC; retryInfo says that the status had that detail. RESOURCE_EXHAUSTED is two
// things: a quota or a rate, which recovers (many backends send it without RetryInfo), and gRPC libraries' answer to
// a message over their limit, which does not. Only the text tells them apart. Taking a quota for a size
// makes dead letters of good data; taking a size for a quota holds one batch for ever, seen as retries.
func CodeVerdict(code codes.Code, message string, retryInfo bool) Verdict {
	switch code {
	case codes.ResourceExhausted, codes.OutOfRange: // tonic says OUT_OF_RANGE for a message over its limit
		if !retryInfo && aboutSize.MatchString(message) {
			return Refused
		}
		if code == codes.ResourceExhausted {
			return Quota
		}
		return Busy
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.Unavailable, codes.DataLoss:
		return Busy
	case codes.Unauthenticated, codes.PermissionDenied:
		return NoAccess
	case codes.NotFound, codes.Unimplemented:
		return NoEndpoint
	case codes.Unknown:
		if strings.HasPrefix(message, foreignAnswer) {
			return NoEndpoint
		}
	}
	return Refused
}

// foreignAnswer is how grpc-go reports a 200 that is not of gRPC: a web page. Other statuses stay refused: a proxy's 413
// is about the data.
const foreignAnswer = "unexpected HTTP status code received from server: 200 "

// aboutSize knows the texts of grpc-go, C++ and Python ("larger than max"), Java and .NET ("exceeds maximum size"),
// tonic ("message length too large"), Tempo ("TRACE_TOO_LARGE") and Tailweir's own ingest (the last two).
var aboutSize = regexp.MustCompile(`(?i)larger than|too[ _]large|exceeds (the )?max[a-z ]* size|\d bytes.*, the limit is \d|over the limit of \d+ bytes$`)
