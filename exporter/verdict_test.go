package exporter

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"tailweir/exporter/exportertest"
)

// httpVerdicts has every status that net/http names, and some that it does not.
var httpVerdicts = map[Verdict][]int{
	Refused: {400, 409, 411, 412, 413, 415, 416, 417, 418, 422, 423, 424, 428, 451, 499, 500},

	Busy:     {408, 425, 502, 503, 504, 506, 507, 508, 510, 511, 520, 522, 529, 599},
	Quota:    {429},
	NoAccess: {401, 402, 403, 407, 431},
	NoEndpoint: {100, 101, 102, 103, 300, 301, 302, 303, 304, 305, 307, 308, 399,
		404, 405, 406, 410, 414, 421, 426, 501, 505},
}

var codeVerdicts = []struct {
	code      codes.Code
	message   string
	retryInfo bool
	want      Verdict
}{
	{codes.Canceled, "", false, Busy},
	{codes.Unknown, "", false, Refused},
	{codes.Unknown, "unexpected HTTP status code received from server: 200 (OK); transport: received unexpected content-type \"text/html\"", false, NoEndpoint},
	{codes.Unknown, "unexpected HTTP status code received from server: 413 (Request Entity Too Large); transport: received unexpected content-type \"text/html\"", false, Refused},
	{codes.InvalidArgument, "", false, Refused},
	{codes.InvalidArgument, "span name larger than 10", false, Refused},
	{codes.DeadlineExceeded, "", false, Busy},
	{codes.NotFound, "", false, NoEndpoint},
	{codes.AlreadyExists, "", false, Refused},
	{codes.PermissionDenied, "", false, NoAccess},
	{codes.ResourceExhausted, "", true, Quota},
	{codes.ResourceExhausted, "", false, Quota},
	{codes.ResourceExhausted, "request is over the limit of 500 bytes", true, Quota},
	{codes.ResourceExhausted, "Quota exceeded for quota metric 'Write requests' per minute", false, Quota},
	{codes.ResourceExhausted, "RATE_LIMITED: ingestion rate limit (local: 15000000 bytes) exceeded while adding 512 bytes for user 7", false, Quota},
	{codes.ResourceExhausted, "more than the limit is 100 requests", false, Quota},
	{codes.ResourceExhausted, "grpc: received message larger than max (5308389 vs. 4194304)", false, Refused},
	{codes.ResourceExhausted, "grpc: message after decompression larger than max (5308389 vs. 4194304)", false, Refused},
	{codes.ResourceExhausted, "grpc: message too large (5308389 bytes)", false, Refused},
	{codes.ResourceExhausted, "Received message larger than max (5308389 vs. 4194304)", false, Refused},
	{codes.ResourceExhausted, "Decompressed gRPC message exceeds maximum size 4194304", false, Refused},
	{codes.ResourceExhausted, "Received message exceeds the maximum configured message size.", false, Refused},
	{codes.ResourceExhausted, "TRACE_TOO_LARGE: max size of trace (5000000) exceeded while adding 122 bytes to trace", false, Refused},
	{codes.ResourceExhausted, "message has 20000001 bytes, the limit is 20000000", false, Refused},
	{codes.ResourceExhausted, "request needs 268435457 bytes of memory, the limit is 268435456; send smaller batches", false, Refused},
	{codes.ResourceExhausted, "request is over the limit of 67108864 bytes", false, Refused},
	{codes.FailedPrecondition, "", false, Refused},
	{codes.Aborted, "", false, Busy},
	{codes.OutOfRange, "", false, Busy},
	{codes.OutOfRange, "Error, decoded message length too large: found 4895143 bytes, the limit is: 4194304 bytes", false, Refused},
	{codes.Unimplemented, "", false, NoEndpoint},
	{codes.Internal, "", false, Refused},
	{codes.Unavailable, "", false, Busy},
	{codes.DataLoss, "", false, Busy},
	{codes.Unauthenticated, "", false, NoAccess},
	{codes.Code(99), "", false, Refused},
}

func TestVerdicts(t *testing.T) {
	seen := map[int]bool{}
	for want, statuses := range httpVerdicts {
		for _, status := range statuses {
			seen[status] = true
			if got := httpVerdict(status); got != want {
				t.Errorf("HTTP %d: verdict %d, want %d", status, got, want)
			}
		}
	}
	for status := 100; status < 600; status++ {
		if http.StatusText(status) != "" && status/100 != 2 && !seen[status] {
			t.Errorf("HTTP %d is not in the table", status)
		}
	}
	known := map[codes.Code]bool{codes.OK: true}
	for _, tt := range codeVerdicts {
		known[tt.code] = true
		if got := CodeVerdict(tt.code, tt.message, tt.retryInfo); got != tt.want {
			t.Errorf("%s, %q, RetryInfo %t: verdict %d, want %d", tt.code, tt.message, tt.retryInfo, got, tt.want)
		}
	}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		if !known[code] {
			t.Errorf("%s is not in the table", code)
		}
	}
}

// What is held succeeds at the second attempt, what is refused is tried once.
func TestOTLPVerdicts(t *testing.T) {
	t.Run("http", func(t *testing.T) {
		b := exportertest.NewHTTP(t, nil)
		o := open(t, OTLPConfig{Endpoint: b.URL})
		for v, statuses := range httpVerdicts {
			for _, status := range statuses {
				if status < 200 || status == http.StatusNotModified {
					continue // these have no body by definition
				}
				before := len(b.Requests())
				b.Script(exportertest.Answer{Status: status, Body: []byte("the reason")})
				err := o.Export(t.Context(), traceBatch(t, 1, 1))
				checkVerdict(t, status, v.held(), err, len(b.Requests())-before)
			}
		}
	})
	t.Run("grpc", func(t *testing.T) {
		b := exportertest.NewGRPC(t, nil)
		o := open(t, OTLPConfig{Endpoint: b.URL})
		for _, tt := range codeVerdicts {
			answer := exportertest.Answer{Code: tt.code, Message: tt.message + "; the reason"}
			if strings.HasSuffix(tt.message, " bytes") {
				answer.Message = "the reason: " + tt.message
			}
			if tt.retryInfo {
				answer.RetryDelay = time.Millisecond
			}
			before := len(b.Requests())
			b.Script(answer)
			err := o.Export(t.Context(), traceBatch(t, 1, 1))
			checkVerdict(t, tt.code, tt.want.held(), err, len(b.Requests())-before)
		}
	})
}

func checkVerdict(t *testing.T, code any, held bool, err error, attempts int) {
	t.Helper()
	if held {
		if err != nil || attempts != 2 {
			t.Errorf("%v: err %v after %d attempts, want success at the second", code, err, attempts)
		}
		return
	}
	var pe *PermanentError
	if !errors.As(err, &pe) || attempts != 1 {
		t.Errorf("%v: err %v after %d attempts, want a PermanentError after one", code, err, attempts)
		return
	}
	if !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("%v: %q names neither endpoint nor reason", code, err)
	}
}

func TestRedirectNamesItsTarget(t *testing.T) {
	target := &url.URL{Scheme: "http", Host: "h", Path: "/v1/traces"}
	res := &http.Response{
		StatusCode: http.StatusFound, Request: &http.Request{URL: target},
		Header: http.Header{"Location": {"https://user:secret@login/in?key=secret"}},
	}
	f := statusFault(target, res, "text/html", []byte("<a href=https://login/in?key=secret>"))
	if got, want := f.Error(), "http://h/v1/traces: 302 Found: redirects to https://login/in"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
