package exporter

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// maxMessage bounds what is kept of a backend's message, in bytes: enough for any sentence, and safe to put
// into a message attribute (Pub/Sub allows 1024 bytes) together with endpoint and code.
const maxMessage = 512

// fault is one attempt's failure, classified.
type fault struct {
	endpoint string
	code     string // "503 Service Unavailable", "UNAVAILABLE", "network"
	msg      string
	verdict  verdict
	wait     time.Duration // what the backend asked for; 0 = nothing
	cause    error         // network errors only
}

func (f *fault) Error() string {
	if f.msg == "" {
		return f.endpoint + ": " + f.code
	}
	return fmt.Sprintf("%s: %s: %s", f.endpoint, f.code, f.msg)
}

func (f *fault) Unwrap() error { return f.cause }

// clip makes a backend's message one line of valid UTF-8 of at most maxMessage bytes.
func clip(s string) string {
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
