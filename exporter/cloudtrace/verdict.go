package cloudtrace

import (
	"google.golang.org/grpc/codes"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
)

// verdict is what an answer is about. A project that an app named, and no setting, may not exist or not be ours to write to: that
// is about this app's data, which must not hold everybody's.
func (e *Exporter) verdict(project string) exporter.Table {
	return func(code codes.Code, message string, retryInfo bool) exporter.Verdict {
		switch code {
		case codes.NotFound, codes.PermissionDenied, codes.FailedPrecondition:
			if !e.routes.Named(project) {
				return exporter.Rejected
			}
		}
		return gcp.Verdict(code, message, retryInfo)
	}
}
