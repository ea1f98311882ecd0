package cloudlogging

import (
	"strings"

	ltype "google.golang.org/genproto/googleapis/logging/type"

	"tailweir/otlp"
)

// severityOf maps OTLP's severity numbers, of which each range of four has one name, to Logging's.
func severityOf(number int32) ltype.LogSeverity {
	switch {
	case number < 1 || number > 24:
		return ltype.LogSeverity_DEFAULT
	case number <= 8:
		return ltype.LogSeverity_DEBUG
	case number <= 10:
		return ltype.LogSeverity_INFO
	case number <= 12:
		return ltype.LogSeverity_NOTICE
	case number <= 16:
		return ltype.LogSeverity_WARNING
	case number <= 20:
		return ltype.LogSeverity_ERROR
	case number <= 22:
		return ltype.LogSeverity_CRITICAL
	case number == 23:
		return ltype.LogSeverity_ALERT
	}
	return ltype.LogSeverity_EMERGENCY
}

// severities are the names that sources use.
var severities = map[string]ltype.LogSeverity{
	"trace": ltype.LogSeverity_DEBUG, "finest": ltype.LogSeverity_DEBUG, "finer": ltype.LogSeverity_DEBUG, "fine": ltype.LogSeverity_DEBUG,
	"verbose": ltype.LogSeverity_DEBUG, "debug": ltype.LogSeverity_DEBUG, "config": ltype.LogSeverity_DEBUG,
	"info": ltype.LogSeverity_INFO, "information": ltype.LogSeverity_INFO, "informational": ltype.LogSeverity_INFO,
	"notice": ltype.LogSeverity_NOTICE,
	"warn":   ltype.LogSeverity_WARNING, "warning": ltype.LogSeverity_WARNING,
	"error": ltype.LogSeverity_ERROR, "err": ltype.LogSeverity_ERROR, "severe": ltype.LogSeverity_ERROR,
	"critical": ltype.LogSeverity_CRITICAL, "crit": ltype.LogSeverity_CRITICAL, "fatal": ltype.LogSeverity_CRITICAL,
	"info3": ltype.LogSeverity_NOTICE, "info4": ltype.LogSeverity_NOTICE,
	"alert": ltype.LogSeverity_ALERT, "fatal3": ltype.LogSeverity_ALERT,
	"fatal4": ltype.LogSeverity_EMERGENCY, "emergency": ltype.LogSeverity_EMERGENCY, "emerg": ltype.LogSeverity_EMERGENCY, "panic": ltype.LogSeverity_EMERGENCY,
}

// severity returns the record's severity, by its number, else by its text, and the text where it says something of its own.
func severity(rec otlp.Record) (ltype.LogSeverity, string) {
	name := text(rec.SeverityText())
	severity := severityOf(rec.SeverityNumber())
	if name == "" {
		return severity, ""
	}
	named, known := severities[strings.ToLower(name)]
	if !known { // OTLP's own short names are INFO, INFO2 ...
		named, known = severities[strings.ToLower(strings.TrimRight(name, "1234"))]
	}
	if severity == ltype.LogSeverity_DEFAULT {
		severity = named
	}
	if known && named == severity {
		return severity, ""
	}
	return severity, name
}
