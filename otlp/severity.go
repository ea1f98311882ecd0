package otlp

import (
	"slices"
	"strings"
)

// Severities are the names of the severity numbers 1 to 24, in order.
var Severities = [...]string{
	"TRACE", "TRACE2", "TRACE3", "TRACE4", "DEBUG", "DEBUG2", "DEBUG3", "DEBUG4", "INFO", "INFO2", "INFO3", "INFO4",
	"WARN", "WARN2", "WARN3", "WARN4", "ERROR", "ERROR2", "ERROR3", "ERROR4", "FATAL", "FATAL2", "FATAL3", "FATAL4",
}

// otherNames are texts of syslog and of well-known libraries, as the appendix of OTLP's data model maps them.
var otherNames = map[string]int32{
	"INFORMATION": 9, "INFORMATIONAL": 9, "NOTICE": 10, "WARNING": 13, "ERR": 17, "CRITICAL": 18, "ALERT": 19, "EMERGENCY": 21,
}

// ParseSeverity returns the numbers that a name stands for: "WARN" 13 to 16, "WARN2" 14 alone; 0, 0 for any other text.
func ParseSeverity(name string) (low, high int32) {
	low = int32(slices.Index(Severities[:], name)) + 1
	if low%4 == 1 {
		return low, low + 3
	}
	return low, low
}

// Severity returns the record's severity number, or what its severity text stands for where it has none: 0 when that is no
// name that people agree on, of either case.
func (r Record) Severity() int32 {
	if n := r.SeverityNumber(); n != 0 || len(r.SeverityText()) == 0 {
		return n
	}
	name := strings.ToUpper(string(r.SeverityText()))
	if n, known := otherNames[name]; known {
		return n
	}
	n, _ := ParseSeverity(name)
	return n
}
