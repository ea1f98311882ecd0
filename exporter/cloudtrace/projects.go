package cloudtrace

//lint:file-ignore SA1019 The exporter type is for this deprecated package; see the package comment.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth/grpctransport"
	"cloud.google.com/go/trace/apiv2/tracepb"
	googletrace "github.com/GoogleCloudPlatform/opentelemetry-operations-go/exporter/trace"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/api/option"
	"google.golang.org/grpc"

	"tailweir/exporter/gcp"
)

// projects holds an exporter of the package for each project and connection: an exporter reads a span's project, if it is
// not its own, only from the resource, which ours do not have (see span.Resource). All share the connections. Safe for
// concurrent use.
type projects struct {
	pool grpctransport.GRPCClientConnPool

	mu    sync.Mutex // guards known
	known map[destination]*googletrace.Exporter
}

type destination struct {
	project string
	conn    *grpc.ClientConn
}

// maxProjects bounds those that are remembered: apps name projects, too. Making one takes 6 µs and no connection.
const maxProjects = 1000

// newProjects also makes the exporter of the first project, so that what is wrong with the package's options is found at start.
func newProjects(ctx context.Context, d gcp.Dial, first string, more ...grpc.DialOption) (*projects, error) {
	own := []grpc.DialOption{grpc.WithChainUnaryInterceptor(intercept), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(newCodec()))}
	pool, err := d.Connect(ctx, endpoint, append(own, more...)...)
	if err != nil {
		return nil, err
	}
	p := &projects{pool: pool, known: map[destination]*googletrace.Exporter{}}
	quiet.Do(func() { withoutNotice(func() { _, err = p.exporter(first) }) })
	if err == nil {
		_, err = p.exporter(first)
	}
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return p, nil
}

func (p *projects) exporter(project string) (*googletrace.Exporter, error) {
	to := destination{project, p.pool.Connection()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.known[to]; e != nil {
		return e, nil
	}
	e, err := googletrace.New(
		googletrace.WithProjectID(project),
		googletrace.WithTraceClientOptions([]option.ClientOption{option.WithGRPCConn(to.conn)}),
		googletrace.WithAttributeMapping(func(k attribute.Key) attribute.Key { return k }), // labels are additions, see httpLabels
		googletrace.WithErrorHandler(otel.ErrorHandlerFunc(func(error) {})),                // write returns them
		googletrace.WithTimeout(24*time.Hour),                                              // contexts have a shorter one
	)
	if err != nil {
		return nil, fmt.Errorf("exporter of project %s: %w", project, err)
	}
	if len(p.known) < maxProjects {
		p.known[to] = e
	}
	return e, nil
}

// write sends one request once, and returns what gRPC said.
func (p *projects) write(ctx context.Context, project string, spans []sdktrace.ReadOnlySpan) error {
	e, err := p.exporter(project)
	if err != nil {
		return err
	}
	c := call{spans: spans}
	if err = e.ExportSpans(context.WithValue(ctx, callKey{}, &c), spans); c.err != nil {
		return c.err
	}
	return err
}

// close does not shut down the package's exporters: each would close the connection that all share, and does nothing else.
func (p *projects) close() error { return p.pool.Close() }

// call is one of the package's, in its context: what it was given, and where intercept puts its error.
type call struct {
	spans []sdktrace.ReadOnlySpan
	err   error
}

type callKey struct{}

var errAnswered = errors.New("answered with an error")

// intercept joins the request with what the package did not see of the spans, and hides errors from the package's client, which
// would send a request again by itself, without knowing of RetryInfo or of how many others are under way, and whose last
// error would be the only one seen.
func intercept(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	opts ...grpc.CallOption) error {
	c := ctx.Value(callKey{}).(*call)
	c.err = invoke(ctx, method, &sending{req.(*tracepb.BatchWriteSpansRequest), c.spans}, reply, conn, opts...)
	if c.err != nil {
		return errAnswered
	}
	return nil
}

var quiet sync.Once

// withoutNotice runs f, which makes the process' first exporter of the package, while that writes a notice by the standard
// logger that it is deprecated. New says so in the exporter's own log.
func withoutNotice(f func()) {
	w := log.Writer()
	defer log.SetOutput(w)
	log.SetOutput(sieve{w})
	f()
}

// sieve passes all but the notice on.
type sieve struct{ io.Writer }

func (s sieve) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "OpenTelemetry Trace exporter for Go is deprecated") {
		return len(b), nil
	}
	return s.Writer.Write(b)
}
