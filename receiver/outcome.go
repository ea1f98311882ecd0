package receiver

import (
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
)

// Outcome says how a request ended.
type Outcome uint8

// The outcomes. Each is answered with one HTTP status and one gRPC code.
const (
	Accepted    Outcome = iota // published, or empty
	Partial                    // some items rejected, the rest published
	Malformed                  // not OTLP; never to be retried
	TooLarge                   // over a size limit; never to be retried
	Unsupported                // a content type or encoding that is not spoken here
	Overloaded                 // a bound on requests or bytes in flight; retry later
	Unpublished                // the publisher did not confirm in time; retry later
	Gone                       // the sender went away or its body stopped; retry if it is still there
	Slow                       // the body did not come within Config.ReadTimeout; 503, since SDKs drop what is answered 408
	Panicked                   // a fault of ours

	deniedMissing // a Denial, by its Reason and in the same order; see Config.Gate
	deniedUnknown
	deniedForbidden
	deniedThrottled
	deniedUnverified
	outcomes = iota
)

// answers holds for each outcome its name and codes. A 500 is for panics alone: senders drop data on it.
var answers = [outcomes]struct {
	name  string
	http  int
	grpc  codes.Code
	retry bool
}{
	Accepted:    {"accepted", http.StatusOK, codes.OK, false},
	Partial:     {"partial", http.StatusOK, codes.OK, false},
	Malformed:   {"malformed", http.StatusBadRequest, codes.InvalidArgument, false},
	TooLarge:    {"too_large", http.StatusRequestEntityTooLarge, codes.ResourceExhausted, false},
	Unsupported: {"unsupported", http.StatusUnsupportedMediaType, codes.Unimplemented, false},
	Overloaded:  {"overloaded", http.StatusServiceUnavailable, codes.Unavailable, true},
	Unpublished: {"unpublished", http.StatusServiceUnavailable, codes.Unavailable, true},
	Gone:        {"gone", http.StatusServiceUnavailable, codes.Unavailable, true},
	Slow:        {"slow", http.StatusServiceUnavailable, codes.DeadlineExceeded, true},
	Panicked:    {"panicked", http.StatusInternalServerError, codes.Internal, false},

	deniedMissing:    {"denied_missing", http.StatusUnauthorized, codes.Unauthenticated, false},
	deniedUnknown:    {"denied_unknown", http.StatusUnauthorized, codes.Unauthenticated, false},
	deniedForbidden:  {"denied_forbidden", http.StatusForbidden, codes.PermissionDenied, false},
	deniedThrottled:  {"denied_throttled", http.StatusTooManyRequests, codes.ResourceExhausted, true},
	deniedUnverified: {"denied_unverified", http.StatusServiceUnavailable, codes.Unavailable, true},
}

// String is the outcome in lower case, for metrics and logs.
func (o Outcome) String() string {
	if int(o) < len(answers) {
		return answers[o].name
	}
	return fmt.Sprintf("outcome(%d)", o)
}

// fault is an error that knows how it is answered; its text goes to the sender.
type fault struct {
	outcome Outcome
	text    string
	retry   time.Duration // 0: Config.RetryDelay
}

func (f *fault) Error() string { return f.text }

func faultf(o Outcome, format string, args ...any) *fault {
	return &fault{outcome: o, text: fmt.Sprintf(format, args...)}
}
