package gcp

import (
	"testing"

	"google.golang.org/grpc/codes"

	"tailweir/exporter"
)

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		code      codes.Code
		message   string
		retryInfo bool
		want      exporter.Verdict
	}{
		{codes.Canceled, "", false, exporter.Busy},
		{codes.Unknown, "", false, exporter.Unsure},
		{codes.Unknown, "unexpected HTTP status code received from server: 200 (OK)", false, exporter.NoEndpoint},
		{codes.InvalidArgument, "Span start time is in the future", false, exporter.Refused},
		{codes.DeadlineExceeded, "", false, exporter.Busy},
		{codes.NotFound, "Project not found", false, exporter.NoEndpoint},
		{codes.AlreadyExists, "", false, exporter.Refused},
		{codes.PermissionDenied, "", false, exporter.NoAccess},
		{codes.ResourceExhausted, "Quota exceeded for quota metric 'Write requests'", false, exporter.Quota},
		{codes.ResourceExhausted, "Quota exceeded for quota metric 'Write requests'", true, exporter.Quota},
		{codes.ResourceExhausted, "grpc: received message larger than max (5000000 vs. 4194304)", false, exporter.Refused},
		{codes.FailedPrecondition, "Billing is disabled", false, exporter.NoAccess},
		{codes.Aborted, "", false, exporter.Busy},
		{codes.OutOfRange, "", false, exporter.Busy},
		{codes.Unimplemented, "", false, exporter.NoEndpoint},
		{codes.Internal, "", false, exporter.Unsure},
		{codes.Unavailable, "", false, exporter.Busy},
		{codes.DataLoss, "", false, exporter.Busy},
		{codes.Unauthenticated, "", false, exporter.NoAccess},
	} {
		if got := Verdict(test.code, test.message, test.retryInfo); got != test.want {
			t.Errorf("%s %q, retry info %t: verdict %d, want %d", test.code, test.message, test.retryInfo, got, test.want)
		}
	}
}
