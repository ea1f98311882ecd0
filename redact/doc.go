// Package redact takes out of telemetry what must not be stored: it compiles rules from the settings ingest.redact and applies
// them to export requests on the wire, before anything of them is published.
//
// [Rules] are safe for concurrent use and keep no state but counters. What a rule covers is in no byte of what Rewrite returns: a
// text is looked at again until no rule finds anything in it, and a payload for which that fails is refused. What rules do
// not cover passes untouched, and a payload in which they find nothing is the same slice.
//
// Numbers with a check digit are checked, so that ids and times are not eaten; Japanese ones are found in full width as well.
package redact
