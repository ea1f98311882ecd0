package googletest

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// API names one of the services.
type API string

// The services.
const (
	CloudTrace   API = "cloudtrace"   // google.devtools.cloudtrace.v2.TraceService
	CloudLogging API = "cloudlogging" // google.logging.v2.LoggingServiceV2
	Telemetry    API = "telemetry"    // OTLP's TraceService and LogsService
)

// Call is a request as it came in, before anything was done about it.
type Call struct {
	API   API
	N     int // of this API, from 1
	Items int // spans, entries or records
	Bytes int // of the message, decompressed
}

// Fault is what befalls requests. The zero Fault is an ordinary answer to every request.
type Fault struct {
	API   API // "" = any
	Skip  int // requests that pass before the fault begins
	Count int // requests that it then befalls; 0 = all until Heal

	Delay     time.Duration // first; cut short when the client goes away
	Hang      bool          // then no answer until the client goes away
	Code      codes.Code    // the answer; OK = as without the fault
	Message   string
	RetryInfo time.Duration // a detail of the answer, if not 0

	// After lets the request take effect first, so that only its answer is lost: all is written, and the client sees the
	// delay, nothing at all, or Code.
	After bool
	// Entries limits the fault to these entries of a request to Cloud Logging, by index: they are refused with Code and Message.
	// Indexes beyond the request's end are nobody's.
	Entries []int
}

// strike is the fault's delay and answer.
func (f *Fault) strike(ctx context.Context) error {
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-ctx.Done():
		}
	}
	if f.Hang {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	if f.Code == codes.OK || f.Entries != nil {
		return nil
	}
	return failure(f.Code, cmp.Or(f.Message, "injected"), f.RetryInfo)
}

func failure(code codes.Code, message string, retry time.Duration) error {
	st := status.New(code, message)
	if retry > 0 {
		st, _ = st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry)}) // fails for OK alone
	}
	return st.Err()
}

// faults are those injected. The zero value is ready.
type faults struct {
	mu  sync.Mutex
	all []*Fault
}

func (q *faults) inject(fs []Fault) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range fs {
		q.all = append(q.all, &f)
	}
}

func (q *faults) heal() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = nil
}

// next takes the first fault that is for this request, and counts it as passed by those that skip it.
func (q *faults) next(api API) *Fault {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, f := range q.all {
		switch {
		case f.API != "" && f.API != api:
		case f.Skip > 0:
			f.Skip--
		default:
			hit := *f
			if f.Count--; f.Count == 0 {
				q.all = slices.Delete(q.all, i, i+1)
			}
			return &hit
		}
	}
	return nil
}
