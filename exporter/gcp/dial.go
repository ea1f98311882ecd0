package gcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/grpctransport"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"tailweir/version"
)

const (
	// Scope is the OAuth scope of the tokens; what an account may do is IAM's to say.
	Scope = "https://www.googleapis.com/auth/cloud-platform"

	// QuotaHeader names the project whose quota a request is counted against.
	QuotaHeader = "x-goog-user-project"

	maxConnections = 256
)

// Dial tells how one API is reached. Zero fields mean their defaults.
type Dial struct {
	Endpoint     string // host:port; default the API's own
	Insecure     bool   // plaintext and no credentials: for fakes and emulators
	QuotaProject string // whose quota requests count against; default that of the credentials
	Connections  int    // gRPC connections, used in turn, 1..256; default 1
	UserAgent    string // default tailweir/VERSION

	// Credentials are used instead of those of the environment, see Authenticate.
	Credentials *auth.Credentials
}

// Validate reports all faults at once.
func (d Dial) Validate() error {
	var errs []error
	if d.Endpoint != "" {
		if host, port, err := net.SplitHostPort(d.Endpoint); err != nil || host == "" || port == "" || strings.Contains(d.Endpoint, "/") {
			errs = append(errs, fmt.Errorf("endpoint %q: want host:port", d.Endpoint))
		}
	} else if d.Insecure {
		errs = append(errs, errors.New("insecure: only with an endpoint, Google's own take neither plaintext nor strangers"))
	}
	if d.QuotaProject != "" && !ValidProject(d.QuotaProject) {
		errs = append(errs, fmt.Errorf("quota_project %q: %s", d.QuotaProject, projectSyntax))
	}
	if d.Connections < 0 || d.Connections > maxConnections {
		errs = append(errs, fmt.Errorf("connections %d: want 1 to %d", d.Connections, maxConnections))
	}
	return errors.Join(errs...)
}

// Authenticate sets Credentials, where there are none, to the application-default credentials of the environment. They
// fetch and refresh their tokens by themselves, at the first request and later. With Insecure there are none.
func (d *Dial) Authenticate() error {
	if d.Insecure || d.Credentials != nil {
		return nil
	}
	creds, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: []string{Scope}})
	if err != nil {
		return fmt.Errorf("credentials for Google: %w; run under a service account (Cloud Run, GKE with workload identity, Compute Engine), "+
			"set GOOGLE_APPLICATION_CREDENTIALS to a credentials file, or run \"gcloud auth application-default login\"", err)
	}
	d.Credentials = creds
	return nil
}

// Options returns the options for one of Google's generated clients. Authenticate comes before it.
func (d Dial) Options() []option.ClientOption {
	opts := []option.ClientOption{
		option.WithUserAgent(d.agent()),
		option.WithGRPCConnectionPool(max(1, d.Connections)),
		option.WithTelemetryDisabled(), // nobody reads spans about the exporter of spans
	}
	if d.Endpoint != "" {
		opts = append(opts, option.WithEndpoint(d.Endpoint))
	}
	if d.Insecure {
		opts = append(opts, option.WithoutAuthentication())
	} else {
		opts = append(opts, option.WithAuthCredentials(d.Credentials))
		if d.QuotaProject != "" {
			opts = append(opts, option.WithQuotaProject(d.QuotaProject))
		}
	}
	for _, o := range d.dialOptions() {
		opts = append(opts, option.WithGRPCDialOption(o))
	}
	return opts
}

// Connect returns connections for calls without a generated client; it does not wait for them to be up. endpoint is the API's own.
// Authenticate comes before it.
func (d Dial) Connect(ctx context.Context, endpoint string, more ...grpc.DialOption) (grpctransport.GRPCClientConnPool, error) {
	if d.Endpoint != "" {
		endpoint = d.Endpoint
	}
	o := &grpctransport.Options{
		Endpoint:              endpoint,
		PoolSize:              d.Connections,
		DisableAuthentication: d.Insecure,
		Credentials:           d.Credentials,
		DisableTelemetry:      true,
		GRPCDialOpts:          append(append(d.dialOptions(), grpc.WithUserAgent(d.agent())), more...),
	}
	if d.QuotaProject != "" && !d.Insecure {
		o.Metadata = map[string]string{QuotaHeader: d.QuotaProject}
	}
	pool, err := grpctransport.Dial(ctx, !d.Insecure, o)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", endpoint, err)
	}
	return pool, nil
}

func (d Dial) agent() string {
	if d.UserAgent != "" {
		return d.UserAgent
	}
	return version.UserAgent()
}

func (d Dial) dialOptions() []grpc.DialOption {
	opts := []grpc.DialOption{
		// Finds a connection whose other side vanished; servers by default allow one ping in 5 minutes.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 6 * time.Minute, Timeout: 20 * time.Second}),
		grpc.WithDisableServiceConfig(), // it could bring a second retry policy
		grpc.WithDisableRetry(),
	}
	if !d.Insecure {
		return opts
	}
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if d.QuotaProject != "" {
		// Otherwise the auth library adds the header, together with the token.
		opts = append(opts, grpc.WithChainUnaryInterceptor(d.addQuotaProject))
	}
	return opts
}

func (d Dial) addQuotaProject(ctx context.Context, method string, req, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(metadata.AppendToOutgoingContext(ctx, QuotaHeader, d.QuotaProject), method, req, answer, conn, opts...)
}
