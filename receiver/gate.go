package receiver

import (
	"net/http"
	"time"

	"tailweir/otlp"
)

// Gate says who may send. It is asked once for each export request, when that is known to be one and before its body is read, but
// not for health checks. A denial is nil for who may. Admit must be safe for concurrent use, soon done, and must leave the body alone.
type Gate interface {
	Admit(req *http.Request) (Caller, *Denial)
}

// Caller is who sends. The zero Caller is anybody.
type Caller struct {
	Name string // for logs
	// Stamp is put on every resource of what the caller sends, in place of its attributes with the same keys: the
	// attributes as otlp.Stamp encodes them. Empty: nothing.
	Stamp otlp.Stamp
	// Sent, unless nil, is told the size of the body once it is read, as it came.
	Sent func(bytes int)
}

// Denial is why somebody may not send.
type Denial struct {
	Reason Reason
	// Text is told to the sender: what would be right, and never what is wrong with what it has shown, which helps who guesses.
	Text string
	// RetryAfter is when Throttled and Unverified may be tried again; 0: Config.RetryDelay.
	RetryAfter time.Duration
	// Cause is for the log alone. It holds no secret.
	Cause error
}

// Reason is the kind of a Denial.
type Reason uint8

// The reasons, with what they are answered.
const (
	Missing    Reason = iota // nothing was shown: 401, UNAUTHENTICATED
	Unknown                  // what was shown is not valid: the same
	Forbidden                // it is valid, for somebody who may not send here: 403, PERMISSION_DENIED
	Throttled                // over a limit of the sender's: 429, RESOURCE_EXHAUSTED with a delay, which SDKs obey
	Unverified               // nobody can tell now: 503, UNAVAILABLE with a delay, for a 401 would make SDKs drop what they have
	reasons    = iota
)

// outcome is how the denial is counted and answered.
func (r Reason) outcome() Outcome { return deniedMissing + Outcome(r) }

// String is the reason in lower case.
func (r Reason) String() string { return r.outcome().String() }

// admit asks the gate. The error is a *fault.
func (c *call) admit(req *http.Request) error {
	gate := c.r.cfg.Gate
	if gate == nil {
		return nil
	}
	caller, denial := gate.Admit(req)
	if denial == nil {
		c.caller = caller
		return nil
	}
	c.r.denials[denial.Reason].add("denied", denial.Cause, "reason", denial.Reason.String(), "caller", caller.Name, "peer", req.RemoteAddr)
	return &fault{outcome: denial.Reason.outcome(), text: denial.Text, retry: denial.RetryAfter}
}

// denied prepares the answer to who was not admitted. Over HTTP/1 the connection is closed: to keep it, net/http would first read
// what there is of the body, up to 256 kB, and only then answer. On HTTP/2 the stream ends by itself.
func denied(h http.Header, o Outcome, protoMajor int) {
	if o < deniedMissing || o > deniedUnverified {
		return
	}
	if protoMajor == 1 {
		h.Set("Connection", "close")
	}
	if o == deniedMissing || o == deniedUnknown {
		h.Set("WWW-Authenticate", "Bearer")
	}
}
