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

// What a project answers that only an app has named is about that app's data; quotas and outages are as they are everywhere.
func TestVerdictsOfAProject(t *testing.T) {
	r := Routes{Project: "shop-prod", Routes: []Route{{Attribute: "tenant", Value: "acme", Project: "acme-prod"}}}
	held := map[codes.Code]exporter.Verdict{
		codes.PermissionDenied: exporter.NoAccess, codes.NotFound: exporter.NoEndpoint, codes.FailedPrecondition: exporter.NoAccess,
		codes.Unauthenticated: exporter.NoAccess, codes.Unavailable: exporter.Busy, codes.ResourceExhausted: exporter.Quota,
	}
	for code, want := range held {
		for _, project := range []string{"shop-prod", "acme-prod", "named-by-app"} {
			want := want
			if project == "named-by-app" && (code == codes.PermissionDenied || code == codes.NotFound || code == codes.FailedPrecondition) {
				want = exporter.Rejected
			}
			if got := r.Verdicts(project)(code, "", false); got != want {
				t.Errorf("%s of %s: verdict %d, want %d", code, project, got, want)
			}
		}
	}
}
