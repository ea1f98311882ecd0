// Package logging proves that exporter/cloudlogging makes of log records what Google's own exporter in the collector makes
// of them, opentelemetry-operations-go/exporter/collector v0.62.0. It gives both the same OTLP, recorded from SDKs, one case
// for each thing that a record can have, and seeded random mixtures of these, and compares the entries that come out at a
// fake of the Logging API field by field. Each difference must be a row of docs/exporters.md with its reason, and each row must be
// seen.
//
//	TAILWEIR_COMPARE_RECORDS=50000 go test -v ./logging   that many random records instead of 2000
//	TAILWEIR_COMPARE_SEED=7 go test -v ./logging          others
package logging
