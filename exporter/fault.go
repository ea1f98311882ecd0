package exporter

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxMessage bounds what is kept of a backend's message, in bytes: enough for any sentence, and safe to put
// into a message attribute (Pub/Sub allows 1024 bytes) together with endpoint and code.
const maxMessage = 512

// Fault is one attempt's failure, classified.
type Fault struct {
	Endpoint string // for people: without credentials
	Code     string // "503 Service Unavailable", "UNAVAILABLE", "network"
	Msg      string // the backend's words, see Clip
	Verdict  Verdict
	Wait     time.Duration // what the backend asked for; 0 = nothing
	Cause    error         // network errors only
}

func (f *Fault) Error() string {
	if f.Msg == "" {
		return f.Endpoint + ": " + f.Code
	}
	return fmt.Sprintf("%s: %s: %s", f.Endpoint, f.Code, f.Msg)
}

func (f *Fault) Unwrap() error { return f.Cause }

// Table says what a gRPC status is about; retryInfo: the status had that detail.
type Table func(code codes.Code, message string, retryInfo bool) Verdict

// StatusFault is the fault that an error of a gRPC call stands for. A RetryInfo is what the backend asked for.
func StatusFault(endpoint string, err error, table Table) *Fault {
	st := status.Convert(err)
	wait, hasWait := retryInfo(st)
	message := Clip(st.Message())
	return &Fault{
		Endpoint: endpoint, Code: codeName(st.Code()), Msg: message,
		Verdict: table(st.Code(), message, hasWait), Wait: wait,
	}
}

func retryInfo(st *status.Status) (wait time.Duration, ok bool) {
	for _, d := range st.Details() {
		if info, is := d.(*errdetails.RetryInfo); is {
			return max(0, info.GetRetryDelay().AsDuration()), true
		}
	}
	return 0, false
}

// codeName is the specification's spelling, RESOURCE_EXHAUSTED, which people search for.
func codeName(c codes.Code) string {
	if name, ok := code.Code_name[int32(c)]; ok {
		return name
	}
	return strings.ToUpper(c.String())
}

// Clip makes a backend's message one line of valid UTF-8 of at most 512 bytes.
func Clip(s string) string {
	if len(s) > 4*maxMessage {
		s = s[:4*maxMessage]
	}
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	if len(s) <= maxMessage {
		return s
	}
	end := maxMessage - len("…")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
