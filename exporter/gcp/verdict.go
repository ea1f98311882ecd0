package gcp

import (
	"google.golang.org/grpc/codes"

	"tailweir/exporter"
)

// Verdict is the table of Google's APIs for exporters: as for any OTLP backend (exporter.CodeVerdict, with its reasons), but that
//
//   - INTERNAL and UNKNOWN are Google's answers to trouble of its own, which mostly passes (AIP-194 retries UNAVAILABLE alone, the
//     clients for Logging INTERNAL too). They may be one span's fault all the same, so they are tried a number of times.
//   - FAILED_PRECONDITION is about the project, never about one item: billing is off, or a bucket's key is.
//
// RESOURCE_EXHAUSTED is a quota unless its text speaks of a size. A missing role, a project without the API and an unknown
// project are PERMISSION_DENIED or NOT_FOUND: held until somebody has mended it. INVALID_ARGUMENT is the data's fault.
func Verdict(code codes.Code, message string, retryInfo bool) exporter.Verdict {
	v := exporter.CodeVerdict(code, message, retryInfo)
	switch code {
	case codes.Internal, codes.Unknown:
		if v == exporter.Refused {
			return exporter.Unsure
		}
	case codes.FailedPrecondition:
		return exporter.NoAccess
	}
	return v
}

// Verdicts is the table for requests to the project. One that no setting names was named by an app: that it does not exist, does
// not let this account in, or has its billing off, is about that app's data, which must not hold everybody's.
func (r *Routes) Verdicts(project string) exporter.Table {
	if r.Named(project) {
		return Verdict
	}
	return func(code codes.Code, message string, retryInfo bool) exporter.Verdict {
		switch code {
		case codes.NotFound, codes.PermissionDenied, codes.FailedPrecondition:
			return exporter.Rejected
		}
		return Verdict(code, message, retryInfo)
	}
}
