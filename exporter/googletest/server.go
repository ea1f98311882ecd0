// Package googletest has fakes of the three Google APIs that kept data goes to, as one real gRPC server on loopback: Cloud Trace
// v2, Cloud Logging v2 and the Telemetry (OTLP) API. They enforce the documented limits, have quotas, fail as told, and store by
// id as the services do, so that a repeat is one span or entry, and the same id with other content a [Conflict].
//
// They are stricter than Google where its documents leave a choice: what passes here passes there.
package googletest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"cloud.google.com/go/trace/apiv2/tracepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // senders may compress
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"tailweir/otlp"
)

// Config of a Server. The zero Config is three services without quotas that keep what they are given in memory.
type Config struct {
	Addr         string        // host:port to listen on; default a free port of 127.0.0.1
	QuotaProject string        // demanded as the header x-goog-user-project of every request; "" = not asked for
	Quotas       map[API]Quota // none where absent
	Record       bool          // keep each request, for Requests
	Discard      bool          // keep no spans, entries and records, for Spans, Entries, Records and Conflicts
	// Unread is for measurements of senders: requests are counted, items too, and not read, so they cost next to nothing here (a span
	// of Cloud Trace otherwise 20 µs, an entry 6 µs, a span of Telemetry 3 µs). No limits but that of a request's size, no hooks,
	// nothing is kept; quotas and faults are as ever, but for Fault.Entries.
	Unread bool

	// Decide says what befalls a request that no injected fault is for; nil, or a nil *Fault: nothing. Skip and Count do not count.
	Decide func(Call) *Fault
	Now    func() time.Time // default time.Now

	// What was accepted of a request, before it is answered; an error is answered as UNAVAILABLE, and nothing is stored. They are
	// called concurrently and must neither keep nor change what they are given, but may keep the bytes of OnExport.
	OnSpans   func([]*tracepb.Span) error
	OnEntries func([]*loggingpb.LogEntry) error // with the request's defaults
	OnExport  func(otlp.Signal, []byte) error   // the request as it came, or what is left of it
}

// Server is the fakes. It is safe for concurrent use.
type Server struct {
	cfg    Config
	addr   string
	faults faults
	outage atomic.Bool
	store  store

	mu      sync.Mutex // guards what follows
	quotas  map[API]*bucket
	calls   map[API]int
	serving *grpc.Server
	served  chan struct{}
}

// Start serves until Close.
func Start(cfg Config) (*Server, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg, addr: cmp.Or(cfg.Addr, "127.0.0.1:0"), quotas: map[API]*bucket{}, calls: map[API]int{}}
	for api, q := range cfg.Quotas {
		s.SetQuota(api, q)
	}
	return s, s.listen()
}

func (s *Server) listen() error {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("serve Google's APIs: %w", err)
	}
	s.addr = l.Addr().String()
	srv := grpc.NewServer(
		grpc.ForceServerCodec(codec{}), grpc.StatsHandler(tap{}), grpc.MaxRecvMsgSize(8*MaxRequestBytes),
		grpc.UnknownServiceHandler(s.serveBytes),
	)
	if !s.cfg.Unread {
		tracepb.RegisterTraceServiceServer(srv, &traceService{s: s})
		loggingpb.RegisterLoggingServiceV2Server(srv, &loggingService{s: s})
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l)
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving, s.served = srv, served
	return nil
}

// Addr is host:port of all three services, in plaintext. It stays the same over Restart.
func (s *Server) Addr() string { return s.addr }

// Close cuts off all clients and ends the server. What was stored can still be read.
func (s *Server) Close() error {
	s.mu.Lock()
	srv, served := s.serving, s.served
	s.mu.Unlock()
	srv.Stop()
	<-served
	return nil
}

// Restart cuts off all clients, in the midst of their requests too, and serves again on the same port. What was stored stays, as do
// faults and quotas.
func (s *Server) Restart() error {
	if err := s.Close(); err != nil {
		return err
	}
	return s.listen()
}

// SetQuota replaces a quota; the new bucket is full. The zero Quota takes it away.
func (s *Server) SetQuota(api API, q Quota) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quotas[api] = newBucket(q, s.cfg.Now())
}

// SetOutage makes every request fail with UNAVAILABLE, until it is taken back.
func (s *Server) SetOutage(on bool) { s.outage.Store(on) }

// Inject adds faults. A request suffers the first that is for it, in the order in which they were injected.
func (s *Server) Inject(fs ...Fault) { s.faults.inject(fs) }

// Heal removes the faults that were injected.
func (s *Server) Heal() { s.faults.heal() }

// handle is one request: what befalls it, what take does with it unless something did, and the record of it. request is a
// proto.Message or, with its signal, an OTLP request's bytes.
func (s *Server) handle(ctx context.Context, api API, items int, r Request, take func(*Fault) error) error {
	w := wireOf(ctx)
	c := Call{API: api, Items: items, Bytes: w.bytes}
	s.mu.Lock()
	s.calls[api]++
	c.N = s.calls[api]
	s.mu.Unlock()
	r.API, r.Encoding = api, w.encoding
	md, _ := metadata.FromIncomingContext(ctx)
	r.Header = maps.Clone(md)
	done := s.store.request(s.cfg.Record, r)
	err := s.answer(ctx, &c, md, take)
	done(status.Code(err))
	return err
}

// answer refuses first what has nothing to do with faults, so that each of these befalls a request that would have been taken.
func (s *Server) answer(ctx context.Context, c *Call, md metadata.MD, take func(*Fault) error) error {
	if err := s.admit(c, md); err != nil {
		return err
	}
	f := s.befalls(c)
	if !f.After {
		if err := f.strike(ctx); err != nil {
			return err
		}
	}
	if err := take(f); err != nil || !f.After {
		return err
	}
	return f.strike(ctx)
}

func (s *Server) befalls(c *Call) *Fault {
	f := s.faults.next(c.API)
	if f == nil && s.cfg.Decide != nil {
		f = s.cfg.Decide(*c)
	}
	if f == nil {
		f = &Fault{}
	}
	return f
}

// admit refuses what no request may be.
func (s *Server) admit(c *Call, md metadata.MD) error {
	if s.outage.Load() {
		return status.Error(codes.Unavailable, "The service is currently unavailable.")
	}
	if want := s.cfg.QuotaProject; want != "" && len(md.Get(quotaHeader)) != 1 || want != "" && md.Get(quotaHeader)[0] != want {
		return status.Errorf(codes.PermissionDenied, "%s: %q, want %q", quotaHeader, md.Get(quotaHeader), want)
	}
	if c.Bytes > MaxRequestBytes {
		return status.Errorf(codes.InvalidArgument, "Request payload size exceeds the limit: %d bytes.", MaxRequestBytes)
	}
	s.mu.Lock()
	b := s.quotas[c.API]
	s.mu.Unlock()
	if b == nil {
		return nil
	}
	return b.take(c, s.cfg.Now())
}

const quotaHeader = "x-goog-user-project"

// heard hands what was accepted to a hook.
func heard[T any](hook func(T) error, accepted T) error {
	if hook == nil {
		return nil
	}
	if err := hook(accepted); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	return nil
}
